//! What codes promise: any K suffice, and the bytes are the family's.

use proptest::prelude::*;
use rustfs_erasure_codec::galois_8::ReedSolomon;

use super::*;

fn rs(data: u8, parity: u8) -> Coding {
    Coding { code: Code::ReedSolomon, data, parity }
}

fn xor_of(data: u8) -> Coding {
    Coding { code: Code::Xor, data, parity: 1 }
}

/// Bytes without a pattern, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Shards of several lengths, the longest `len`.
fn shards(coding: Coding, seed: u64, len: usize) -> Vec<Vec<u8>> {
    let shorter = |at: u64| len - (at * 37 + seed) as usize % (len / 2 + 1);
    let width = u64::from(coding.data);
    let lens = (0..width).map(|at| if at == seed % width { len } else { shorter(at) });
    lens.zip(0..).map(|(len, at)| noise(seed * 64 + at, len)).collect()
}

fn slices(shards: &[Vec<u8>]) -> Vec<&[u8]> {
    shards.iter().map(Vec::as_slice).collect()
}

fn padded(shard: &[u8], len: usize) -> Vec<u8> {
    let mut shard = shard.to_vec();
    shard.resize(len, 0);
    shard
}

/// Asserts that the shards outside `kept` come back from those inside.
fn assert_rebuilds(coding: Coding, all: &[Vec<u8>], kept: u32, len: usize) {
    let is_kept = |at: &u8| kept >> at & 1 == 1;
    let count = all.len() as u8;
    let available: Vec<(u8, &[u8])> =
        (0..count).filter(is_kept).map(|at| (at, all[usize::from(at)].as_slice())).collect();
    let wanted: Vec<u8> = (0..count).filter(|at| !is_kept(at)).collect();
    let rebuilt = reconstruct(coding, &available, &wanted, len).expect("K are there");
    for (at, shard) in wanted.iter().zip(rebuilt) {
        let whole = padded(&all[usize::from(*at)], len);
        assert!(shard == whole, "{coding:?}: shard {at} from {kept:#b}");
    }
}

fn whole_row(coding: Coding, seed: u64, len: usize) -> Vec<Vec<u8>> {
    let mut all = shards(coding, seed, len);
    let parity = encode(coding, &slices(&all));
    all.extend(parity);
    all
}

#[test]
fn any_k_of_a_row_give_back_the_rest_up_to_width_ten() {
    for (data, parity) in (1..10).flat_map(|k| (1..=10 - k).map(move |m| (k, m))) {
        let codings =
            if parity == 1 { vec![rs(data, 1), xor_of(data)] } else { vec![rs(data, parity)] };
        for coding in codings {
            let all = whole_row(coding, u64::from(data), 67);
            let patterns = 0_u32..1 << (data + parity);
            for kept in patterns.filter(|kept| kept.count_ones() == u32::from(data)) {
                assert_rebuilds(coding, &all, kept, 67);
            }
        }
    }
}

#[test]
fn parity_is_that_of_the_reed_solomon_erasure_family() {
    let codes = (1..32_u8).flat_map(|k| (1..=32 - k).map(move |m| (k, m)));
    for (data, parity) in codes.filter(|(k, m)| k + m <= 12 || (k * 7 + m) % 5 == 0) {
        let coding = rs(data, parity);
        let source = shards(coding, 3, 131);
        let ours = encode(coding, &slices(&source));
        let whole: Vec<Vec<u8>> = source.iter().map(|shard| padded(shard, 131)).collect();
        let mut theirs = vec![vec![0; 131]; usize::from(parity)];
        ReedSolomon::new(usize::from(data), usize::from(parity))
            .expect("a code")
            .encode_sep(&whole, &mut theirs)
            .expect("shards of one length");
        assert!(ours == theirs, "{data}+{parity}");
    }
}

#[test]
fn format_one_has_these_parities() {
    let data: [&[u8]; 4] = [b"dfs-", b"sim!", &[0xff], b""];
    assert_eq!(encode(xor_of(4), &data), [[0xe8, 0x0f, 0x1e, 0x0c]]);
    assert_eq!(encode(rs(4, 2), &data), GOLDEN_4_2);
    assert_eq!(encode(Coding { code: Code::None, data: 1, parity: 0 }, &[b"x"]).len(), 0);
}

/// Computed by another program, from the definition of the matrix.
const GOLDEN_4_2: [[u8; 4]; 2] = [[0x00, 0x9b, 0x31, 0x53], [0x5d, 0xb6, 0x6b, 0x77]];

#[test]
fn lengths_around_a_block_are_coded_whole() {
    for len in [BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES + 7] {
        for coding in [rs(3, 2), xor_of(3)] {
            let mut all = vec![noise(1, len), noise(2, len.min(BLOCK_BYTES)), noise(3, 9)];
            let parity = encode(coding, &slices(&all));
            assert_eq!(parity[0].len(), len);
            all.extend(parity);
            assert_rebuilds(coding, &all, (1 << all.len()) - 2, len);
            assert_rebuilds(coding, &all, (1 << all.len()) - 5, len);
        }
    }
}

#[test]
fn data_shards_that_are_not_there_count_as_zeros() {
    for coding in [rs(5, 2), xor_of(5)] {
        let (one, two) = (noise(1, 50), noise(2, 40));
        let parity = encode(coding, &[&one, &two]);
        assert_eq!(parity, encode(coding, &[&one, &two, &[], &[], &[0; 9]]));
        let available = [(1, &two[..]), (2, &[]), (3, &[]), (4, &[]), (5, &parity[0])];
        assert_eq!(reconstruct(coding, &available, &[0], 50), Ok(vec![one]));
    }
}

#[test]
fn a_shard_that_is_there_may_be_wanted_too() {
    for coding in [rs(2, 2), xor_of(2)] {
        let all = whole_row(coding, 4, 30);
        let available = [(0, &all[0][..]), (1, &all[1][..])];
        let rebuilt = reconstruct(coding, &available, &[1, 2], 30).expect("K are there");
        assert_eq!(rebuilt, [padded(&all[1], 30), all[2].clone()]);
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let shard = [1_u8; 8];
    let ask = |coding, available: &[(u8, &[u8])], wanted: u8| {
        reconstruct(coding, available, &[wanted], 8).expect_err("refused")
    };
    let too_few = ErasureError::TooFew { needed: 2, found: 1 };
    assert_eq!(ask(rs(2, 2), &[(1, &shard)], 0), too_few);
    assert_eq!(ask(rs(2, 2), &[(1, &shard), (1, &shard)], 0), too_few, "a double is no shard");
    let position = |position| ErasureError::Position { position, shards: 4 };
    assert_eq!(ask(rs(2, 2), &[(4, &shard), (1, &shard)], 0), position(4));
    assert_eq!(ask(rs(2, 2), &[(0, &shard), (1, &shard)], 255), position(255));
    assert_eq!(
        ask(rs(2, 2), &[(0, &shard), (1, &[1; 9])], 2),
        ErasureError::Length { position: 1, found: 9, len: 8 }
    );
    for coding in [rs(31, 2), rs(0, 2), rs(2, 0), rs(255, 255), xor_of(32)] {
        assert_eq!(ask(coding, &[(0, &shard)], 0), ErasureError::Coding(coding));
    }
    let none = Coding { code: Code::None, data: 1, parity: 0 };
    assert_eq!(ask(none, &[], 0), ErasureError::TooFew { needed: 1, found: 0 });
}

proptest! {
    #[test]
    fn any_k_of_a_wide_row_give_back_the_rest(
        (data, parity) in (1_u8..=31).prop_flat_map(|k| (Just(k), 1..=32 - k)),
        order in Just((0_u8..32).collect::<Vec<_>>()).prop_shuffle(),
        seed in 0_u64..1000, len in 1_usize..200,
    ) {
        let coding = rs(data, parity);
        let all = whole_row(coding, seed, len);
        let kept = order.iter().filter(|&&at| usize::from(at) < all.len());
        let kept = kept.take(usize::from(data)).fold(0, |kept, at| kept | 1_u32 << at);
        assert_rebuilds(coding, &all, kept, len);
    }

    #[test]
    fn shard_by_shard_in_any_order_is_the_same_as_at_once(
        (data, parity) in (1_u8..=10).prop_flat_map(|k| (Just(k), 1_u8..=6)),
        is_xor: bool, seed in 0_u64..1000, len in 1_usize..300,
        order in Just((0_u8..10).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let coding = if is_xor { xor_of(data) } else { rs(data, parity) };
        let source = shards(coding, seed, len);
        let mut so_far = vec![Vec::new(); usize::from(coding.parity)];
        for &at in order.iter().filter(|&&at| at < data) {
            update(coding, at, &source[usize::from(at)], &mut so_far);
        }
        prop_assert_eq!(so_far, encode(coding, &slices(&source)));
    }
}
