//! The generated code is what `proto/dfs.proto` gives today. After a change of
//! the contract this comes first, then the conversions that use it.

use std::path::Path;

const UPDATE: &str = "UPDATE_GENERATED";

#[test]
fn generated_code_is_what_the_contract_gives() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proto_dir = crate_dir.join("../../proto");
    let checked_in = crate_dir.join("src/grpc/generated/dfs.v1.rs");

    let descriptors = protox::compile(["dfs.proto"], [&proto_dir]).expect("the contract compiles");
    let out = tempfile::tempdir().expect("a temporary folder");
    tonic_prost_build::configure()
        .bytes(".")
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .expect("code is generated");
    let fresh = std::fs::read_to_string(out.path().join("dfs.v1.rs")).expect("generated file");

    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&checked_in, &fresh).expect("the checked-in file is written");
    }
    let present = std::fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(
        present == fresh,
        "{} is not what proto/dfs.proto gives: run\n  {UPDATE}=1 cargo test -p dfs-runtime --test generated",
        checked_in.display()
    );
}
