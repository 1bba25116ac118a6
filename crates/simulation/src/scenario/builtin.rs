//! The scenarios that come with the program: files that a person can read,
//! copy and change.

use super::Scenario;

/// A built-in scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(BuiltIn {
            name: $name,
            text: include_str!(concat!("../../scenarios/", $name, ".toml")),
        }),*]
    };
}

/// All of them, the simplest first.
pub const BUILT_IN: [BuiltIn; 9] = built_in![
    "node-loss",
    "coordinator-crash",
    "partition",
    "bit-rot",
    "full-disk",
    "rolling-restart",
    "rack-loss",
    "slow-node",
    "mixed",
];

/// The built-in scenario of that name.
#[must_use]
pub fn built_in(name: &str) -> Option<Scenario> {
    let found = BUILT_IN.iter().find(|scenario| scenario.name == name)?;
    Some(Scenario::parse(found.text).expect("a test reads each of them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_says_what_it_shows_and_is_written_back() {
        for built_in in BUILT_IN {
            let scenario = Scenario::parse(built_in.text)
                .unwrap_or_else(|error| panic!("{}: {error}", built_in.name));
            assert_eq!(scenario.name, built_in.name);
            assert!(!scenario.about.is_empty(), "{}", built_in.name);
            assert_eq!(Scenario::parse(&scenario.to_toml()), Ok(scenario));
        }
    }
}
