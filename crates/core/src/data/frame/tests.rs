//! The bytes of frames, and what damage and hostile claims do to them.

use proptest::prelude::*;

use super::*;

const HERE: Place = Place { handle: Handle(0x0102_0304_0506_0708), index: 3 };

fn sealed(raw: &[u8], compression: Compression) -> Vec<u8> {
    let mut out = Vec::new();
    seal(HERE, raw, compression, &mut out);
    out
}

fn opened(stored: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut raw = Vec::new();
    open(HERE, stored, &mut raw).map(|()| raw)
}

/// Bytes of every compressibility, from a short seed.
fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    (0..=len_max, 1_u32..=256, any::<u32>()).prop_map(|(len, alphabet, seed)| {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) % alphabet) as u8
        };
        (0..len).map(|_| next()).collect()
    })
}

#[test]
fn format_two_is_these_bytes() {
    let raw = [5, 0, 0, 0, 0, 0, 0, 0, 0xda, 0x45, 0x20, 0x89, b'h', b'e', b'l', b'l', b'o'];
    assert_eq!(sealed(b"hello", Compression::Lz4), raw);
    assert_eq!(opened(&raw).expect("golden"), b"hello");

    // 64 times 'a': one literal, one match of 58 at distance 1, five literals.
    let lz4 = [
        15, 0, 0, 0, 1, 0, 0, 0, 0x60, 0x9c, 0x82, 0x3e, 64, 0, 0, 0, 0x1f, b'a', 1, 0, 39, 0x50,
        b'a', b'a', b'a', b'a', b'a',
    ];
    assert_eq!(opened(&lz4).expect("golden"), [b'a'; 64]);

    let mut parity = Vec::new();
    seal_parity(HERE, &[1, 2, 3], &mut parity);
    assert_eq!(parity, [3, 0, 0, 0, 2, 0, 0, 0, 0xea, 0x75, 0xa8, 0x54, 1, 2, 3]);
}

#[test]
fn frames_that_gain_less_than_three_percent_stay_raw() {
    let noise: Vec<u8> = (0_u8..128).flat_map(|seed| digest::Digest::of(&[seed]).0).collect();
    let mut some_gain = noise.clone();
    some_gain[..80].fill(0);
    assert_eq!(sealed(&some_gain, Compression::Lz4)[4], Codec::Raw as u8, "about 1 %");
    some_gain[..300].fill(0);
    assert_eq!(sealed(&some_gain, Compression::Lz4)[4], Codec::Lz4 as u8, "about 6 %");
    assert_eq!(sealed(&noise, Compression::Lz4)[4], Codec::Raw as u8);
    assert_eq!(sealed(&[7; 4096], Compression::Lz4)[4], Codec::Lz4 as u8);
    assert_eq!(sealed(&[7; 4096], Compression::None)[4], Codec::Raw as u8);
}

#[test]
fn a_parity_frame_is_no_data_frame() {
    let mut parity = Vec::new();
    seal_parity(HERE, b"coded", &mut parity);
    assert_eq!(check(HERE, &parity).expect("sealed").codec, Codec::Parity);
    assert_eq!(opened(&parity), Err(FrameError::Codec(2)));
}

#[test]
fn a_claimed_raw_length_is_bounded_before_anything_is_allocated() {
    for claim in [FRAME_SIZE as u32 + 1, u32::MAX] {
        let mut stored = vec![0; HEADER_SIZE];
        stored.extend_from_slice(&claim.to_le_bytes());
        stored.extend_from_slice(&[0x10, b'a']);
        write_header(HERE, Codec::Lz4, &mut stored);
        let mut raw = Vec::new();
        assert!(matches!(open(HERE, &stored, &mut raw), Err(FrameError::Decode(_))));
        assert_eq!(raw.capacity(), 0);
        assert!(raw_len(&check(HERE, &stored).expect("sum is right")).is_err());
    }
}

#[test]
fn a_payload_that_decodes_to_another_length_is_refused() {
    let good = sealed(&[9; 1000], Compression::Lz4);
    for claim in [999_u32, 1001, 0] {
        let mut stored = good.clone();
        stored[HEADER_SIZE..HEADER_SIZE + 4].copy_from_slice(&claim.to_le_bytes());
        write_header(HERE, Codec::Lz4, &mut stored);
        let mut raw = vec![1, 2];
        assert!(matches!(open(HERE, &stored, &mut raw), Err(FrameError::Decode(_))), "{claim}");
        assert_eq!(raw, [1, 2], "a failure appends nothing");
    }
}

#[test]
fn a_good_frame_in_anothers_place_is_refused() {
    let stored = sealed(b"hello", Compression::None);
    for place in [Place { index: 2, ..HERE }, Place { handle: Handle(1), ..HERE }] {
        assert!(matches!(check(place, &stored), Err(FrameError::Checksum { .. })), "{place:?}");
    }
}

#[test]
fn unknown_codecs_and_reserved_bytes_are_refused() {
    let mut stored = sealed(b"hello", Compression::None);
    for (at, value, refusal) in [(4, 3, FrameError::Codec(3)), (6, 1, FrameError::Reserved)] {
        let mut other = stored.clone();
        other[at] = value;
        let sum = sum(HERE, &other, &other[HEADER_SIZE..]);
        other[8..12].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(check(HERE, &other).expect_err("refused"), refusal);
    }
    stored.truncate(4);
    assert!(matches!(check(HERE, &stored), Err(FrameError::Length { found: 4, .. })));
}

#[test]
fn the_longest_frames_fit_their_bounds() {
    let raw = vec![0xa5; FRAME_SIZE];
    let stored = sealed(&raw, Compression::None);
    assert_eq!(stored.len(), CODED_MAX);
    let mut parity = Vec::new();
    seal_parity(HERE, &stored, &mut parity);
    assert_eq!(parity.len(), STORED_MAX);
    assert_eq!(stored_len(&parity), Ok(STORED_MAX));
    assert!(check(HERE, &parity).is_ok());
    assert_eq!(opened(&stored).expect("sealed"), raw);
}

proptest! {
    #[test]
    fn what_was_sealed_opens(raw in bytes(70_000), lz4: bool) {
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let mut stored = vec![0xee];
        seal(HERE, &raw, compression, &mut stored);
        let stored = &stored[1..];
        prop_assert!(stored.len() <= raw.len() + HEADER_SIZE);
        prop_assert_eq!(stored_len(stored), Ok(stored.len()));
        let checked = check(HERE, stored).expect("sealed");
        prop_assert_eq!(raw_len(&checked), Ok(raw.len()));
        let mut scratch = vec![1];
        prop_assert_eq!(content(&checked, &mut scratch).expect("sealed"), &raw[..]);
        prop_assert_eq!(opened(stored).expect("sealed"), raw);
    }

    /// A chunk that is sent again must give the frames that its parity codes.
    #[test]
    fn sealing_depends_on_the_bytes_alone(raw in bytes(70_000), before in bytes(70_000)) {
        let first = sealed(&raw, Compression::Lz4);
        sealed(&before, Compression::Lz4);
        prop_assert!(first == sealed(&raw, Compression::Lz4));
    }

    #[test]
    fn every_flipped_bit_is_found(raw in bytes(3000), at: prop::sample::Index, bit in 0_u8..8) {
        let mut stored = sealed(&raw, Compression::Lz4);
        let at = at.index(stored.len());
        stored[at] ^= 1 << bit;
        prop_assert!(check(HERE, &stored).is_err());
    }

    #[test]
    fn a_cut_or_lengthened_frame_is_found(raw in bytes(3000), cut: prop::sample::Index) {
        let mut stored = sealed(&raw, Compression::Lz4);
        prop_assert!(check(HERE, &stored[..cut.index(stored.len())]).is_err());
        stored.push(0);
        prop_assert!(check(HERE, &stored).is_err());
    }

    #[test]
    fn no_payload_makes_it_panic(payload in prop::collection::vec(any::<u8>(), 0..200), codec in 0_u8..4) {
        let mut stored = vec![0; HEADER_SIZE];
        stored.extend_from_slice(&payload);
        write_header(HERE, Codec::Raw, &mut stored);
        stored[4] = codec;
        let sum = sum(HERE, &stored, &stored[HEADER_SIZE..]);
        stored[8..12].copy_from_slice(&sum.to_le_bytes());
        if let Ok(raw) = opened(&stored) {
            prop_assert!(raw.len() <= FRAME_SIZE);
        }
    }
}
