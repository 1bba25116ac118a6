//! Rows of frames of different lengths, and what damage does to them.

use proptest::prelude::*;

use super::*;
use crate::policy::{Code, Compression};

fn rs(data: u8, parity: u8) -> Coding {
    Coding { code: Code::ReedSolomon, data, parity }
}

fn xor(data: u8) -> Coding {
    Coding { code: Code::Xor, data, parity: 1 }
}

const AT: RowAt = RowAt { first_handle: Handle(70), index: 5 };

/// The stored frame of chunk `position` in row [`AT`].
fn stored(position: u8, raw: &[u8]) -> Vec<u8> {
    let mut stored = Vec::new();
    frame::seal(AT.place(position), raw, Compression::Lz4, &mut stored);
    stored
}

/// A row as the nodes hold it: position and stored frame of each chunk that
/// is there; an empty frame where a chunk is too short for the row.
fn row(shape: StripeShape, raw_lens: &[usize]) -> Vec<(u8, Vec<u8>)> {
    let data: Vec<Vec<u8>> = raw_lens
        .iter()
        .zip(0_u8..)
        .map(|(&len, position)| {
            let seed = position + 1;
            let raw: Vec<u8> =
                (0..len).map(|at| (at as u8).wrapping_mul(seed) >> (at % 3)).collect();
            if raw.is_empty() { Vec::new() } else { stored(position, &raw) }
        })
        .collect();
    let frames: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let parity = encode_row(AT, shape.coding, &frames);
    let positions = (0..shape.data).chain(shape.coding.data..);
    positions.zip(data.iter().cloned().chain(parity)).collect()
}

/// The row without the chunks at `lost`.
fn without<'a>(row: &'a [(u8, Vec<u8>)], lost: &[u8]) -> Vec<(u8, &'a [u8])> {
    let is_there = |(position, _): &&(u8, Vec<u8>)| !lost.contains(position);
    row.iter().filter(is_there).map(|(position, frame)| (*position, frame.as_slice())).collect()
}

fn expected(frame: &[u8]) -> Option<Vec<u8>> {
    (!frame.is_empty()).then(|| frame.to_vec())
}

#[test]
fn every_chunk_of_a_row_comes_back_as_it_was_stored() {
    for (coding, data) in [(rs(4, 2), 4), (rs(4, 2), 3), (rs(4, 2), 1), (xor(4), 4), (xor(4), 1)] {
        let shape = StripeShape { coding, data };
        let raw_lens = &[3000, 700, 0, 1][..usize::from(data)];
        let row = row(shape, raw_lens);
        for (position, frame) in &row {
            let rebuilt = rebuild_row(AT, shape, &without(&row, &[*position]), *position);
            assert_eq!(rebuilt, Ok(expected(frame)), "{shape:?} {position}");
        }
    }
}

#[test]
fn as_few_sources_suffice_as_it_says() {
    let shape = StripeShape { coding: rs(6, 3), data: 2 };
    let row = row(shape, &[100, 50]);
    let sources = without(&row, &[0, 1, 8]);
    assert_eq!(sources.len(), sources_needed(shape));
    assert_eq!(rebuild_row(AT, shape, &sources, 1), Ok(Some(row[1].1.clone())));
    assert!(matches!(
        rebuild_row(AT, shape, &sources[1..], 1),
        Err(StripeError::Erasure(ErasureError::TooFew { needed: 6, found: 5 }))
    ));
}

#[test]
fn the_full_frame_is_rebuilt_from_the_longest_parity_frame() {
    let shape = StripeShape { coding: rs(2, 1), data: 2 };
    let mut raw = vec![0; 2 * frame::FRAME_SIZE];
    let mut state = 1_u32;
    raw.iter_mut().for_each(|byte| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    });
    let (one, two) = raw.split_at(frame::FRAME_SIZE);
    let (one, two) = (stored(0, one), stored(1, two));
    let parity = encode_row(AT, shape.coding, &[&one, &two]);
    assert_eq!(parity[0].len(), frame::STORED_MAX);
    let rebuilt = rebuild_row(AT, shape, &[(1, &two), (2, &parity[0])], 0);
    assert!(rebuilt == Ok(Some(one)));
}

#[test]
fn a_row_that_no_chunk_has_is_none_for_all() {
    for wanted in [1, 4] {
        let shape = StripeShape { coding: xor(4), data: 4 };
        let nothing = [(0, &[][..]), (1, &[]), (2, &[]), (3, &[]), (4, &[])];
        assert_eq!(rebuild_row(AT, shape, &nothing, wanted), Ok(None));
    }
}

#[test]
fn a_bad_source_is_named_and_not_decoded() {
    let shape = StripeShape { coding: rs(3, 2), data: 3 };
    let mut row = row(shape, &[100, 100, 100]);
    row[4].1[40] ^= 1;
    let error = rebuild_row(AT, shape, &without(&row, &[0, 1]), 0).expect_err("refused");
    assert!(matches!(error, StripeError::Source { position: 4, .. }), "{error}");
    assert_eq!(
        rebuild_row(AT, shape, &without(&row, &[0, 4]), 0),
        Ok(Some(row[0].1.clone())),
        "another source in its place"
    );
}

#[test]
fn data_in_the_place_of_parity_is_refused() {
    let shape = StripeShape { coding: xor(2), data: 2 };
    let row = row(shape, &[10, 10]);
    let mut parity = Vec::new();
    frame::seal_parity(AT.place(1), &[7; 30], &mut parity);
    let wrong = [(1, parity.as_slice()), (2, row[2].1.as_slice())];
    let error = rebuild_row(AT, shape, &wrong, 0).expect_err("refused");
    let parity_codec = FrameError::Codec(Codec::Parity as u8);
    assert_eq!(error, StripeError::Source { position: 1, error: parity_codec });
}

/// The exclusive or of an odd number of good frames has a good sum but for
/// their places: hence each is held to its own.
#[test]
fn a_good_frame_from_anothers_place_is_no_source() {
    let shape = StripeShape { coding: xor(2), data: 2 };
    let row = row(shape, &[100, 100]);
    let below = RowAt { index: AT.index + 1, ..AT };
    let mut moved = Vec::new();
    frame::seal(below.place(1), &[3; 100], Compression::None, &mut moved);
    let mixed = [(1, moved.as_slice()), (2, row[2].1.as_slice())];
    let error = rebuild_row(AT, shape, &mixed, 0).expect_err("refused");
    assert!(matches!(error, StripeError::Source { position: 1, .. }), "{error}");
}

#[test]
fn good_frames_of_two_rows_never_pass_for_one() {
    let shape = StripeShape { coding: rs(3, 2), data: 3 };
    let (row, other) = (row(shape, &[100, 90, 80]), row(shape, &[50, 100, 70]));
    let mixed = [(1, other[1].1.as_slice()), (2, &row[2].1), (3, &row[3].1)];
    let error = rebuild_row(AT, shape, &mixed, 0).expect_err("refused");
    assert!(matches!(error, StripeError::Rebuilt { position: 0, .. }), "{error}");

    let longer = [(1, row[1].1.as_slice()), (2, &row[2].1), (3, &[])];
    let error = rebuild_row(AT, shape, &longer, 0).expect_err("refused");
    assert!(matches!(error, StripeError::Mismatch { len: 0, .. }), "{error}");
}

#[test]
fn places_that_the_stripe_does_not_have_are_refused() {
    let shape = StripeShape { coding: rs(4, 2), data: 2 };
    let row = row(shape, &[10, 10]);
    for position in [2, 3, 6, 255] {
        let refusal = Err(StripeError::NoChunk { position });
        assert_eq!(rebuild_row(AT, shape, &without(&row, &[]), position), refusal);
        assert_eq!(rebuild_row(AT, shape, &[(position, &row[0].1)], 0), refusal);
    }
    let unsound = StripeShape { coding: rs(200, 100), data: 2 };
    assert!(rebuild_row(AT, unsound, &[(1, &row[1].1)], 0).is_err());
    let too_many = StripeShape { coding: rs(4, 2), data: 9 };
    assert!(rebuild_row(AT, too_many, &[(1, &row[1].1)], 0).is_err());
}

#[test]
fn buffers_of_an_earlier_row_leave_no_trace() {
    for coding in [rs(2, 2), xor(2)] {
        let mut parity =
            encode_row(AT, coding, &[&stored(0, &[1; 900]), &stored(1, b"a longer one")]);
        let frames = [stored(0, b"x"), stored(1, b"yz")];
        let frames = [&frames[0][..], &frames[1]];
        encode_row_into(AT, coding, &frames, &mut parity);
        assert_eq!(parity, encode_row(AT, coding, &frames));
    }
    assert!(encode_row(AT, Coding { code: Code::None, data: 1, parity: 0 }, &[b"x"]).is_empty());
}

#[test]
fn a_streams_parity_takes_no_more_memory_than_its_bytes() {
    let mut accumulator = ParityAccumulator::new(AT.first_handle, rs(4, 2));
    for (position, len) in [(0, 1000), (1, 1100), (2, 900), (3, 1101)] {
        accumulator.add(position, 0, &vec![position; len]);
    }
    assert_eq!(accumulator.memory_bytes(), 2 * (HEADER_SIZE + 1101));
}

#[test]
fn a_stripe_has_the_rows_of_its_longest_chunk() {
    assert_eq!(rows(&[64, 64, 3]), 64);
    assert_eq!(rows(&[]), 0);
}

proptest! {
    #[test]
    fn chunk_by_chunk_and_row_by_row_make_the_same_parity(
        frame_lens in prop::collection::vec(prop::collection::vec(1_usize..400, 1..4), 1..=4),
        is_xor: bool, is_backwards: bool,
    ) {
        let coding = if is_xor { xor(4) } else { rs(4, 2) };
        let chunks: Vec<Vec<Vec<u8>>> = frame_lens
            .iter()
            .map(|lens| lens.iter().map(|&len| vec![len as u8; len]).collect())
            .collect();
        let mut order: Vec<(u8, u32)> = (0..)
            .zip(&chunks)
            .flat_map(|(at, frames)| (0..).zip(frames).map(move |(row, _)| (at, row)))
            .collect();
        if is_backwards {
            order.reverse();
        }
        let mut accumulator = ParityAccumulator::new(AT.first_handle, coding);
        for (at, row) in order {
            accumulator.add(at, row, &chunks[usize::from(at)][row as usize]);
        }
        let parity = accumulator.finish();
        let counts: Vec<u32> = chunks.iter().map(|frames| frames.len() as u32).collect();
        prop_assert!(parity.iter().all(|frames| frames.len() == rows(&counts) as usize));
        for row in 0..rows(&counts) as usize {
            let frames: Vec<&[u8]> =
                chunks.iter().map(|chunk| chunk.get(row).map_or(&[][..], Vec::as_slice)).collect();
            let at = RowAt { index: row as u32, ..AT };
            let coded = encode_row(at, coding, &frames);
            let kept: Vec<Vec<u8>> = parity.iter().map(|frames| frames[row].clone()).collect();
            prop_assert_eq!(kept, coded);
        }
    }

    #[test]
    fn any_loss_within_the_code_is_rebuilt(
        raw_lens in prop::collection::vec(prop_oneof![Just(0_usize), 1_usize..2000], 5),
        data in 1_u8..=5, longest in 1_usize..2000,
        lost in Just((0_u8..8).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let shape = StripeShape { coding: rs(5, 3), data };
        let mut raw_lens = raw_lens[..usize::from(data)].to_vec();
        raw_lens[0] = longest;
        let row = row(shape, &raw_lens);
        let lost = &lost[..3];
        for (position, frame) in row.iter().filter(|(position, _)| lost.contains(position)) {
            let rebuilt = rebuild_row(AT, shape, &without(&row, lost), *position);
            prop_assert_eq!(rebuilt, Ok(expected(frame)));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_source_is_found(
        source in 0_usize..3, at: prop::sample::Index, bit in 0_u8..8
    ) {
        let shape = StripeShape { coding: xor(3), data: 3 };
        let mut row = row(shape, &[60, 50, 40]);
        let frame = &mut row[source + 1].1;
        let at = at.index(frame.len());
        frame[at] ^= 1 << bit;
        let refusal = rebuild_row(AT, shape, &without(&row, &[0]), 0);
        let Err(StripeError::Source { position, .. }) = refusal else {
            return Err(TestCaseError::fail(format!("{refusal:?}")));
        };
        prop_assert_eq!(usize::from(position), source + 1);
    }

    #[test]
    fn no_bytes_make_it_panic(
        frames in prop::collection::vec((0_u8..9, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        wanted in 0_u8..9, data in 0_u8..6,
    ) {
        let sources: Vec<(u8, &[u8])> =
            frames.iter().map(|(position, frame)| (*position, frame.as_slice())).collect();
        let _ = rebuild_row(AT, StripeShape { coding: rs(4, 2), data }, &sources, wanted);
    }
}
