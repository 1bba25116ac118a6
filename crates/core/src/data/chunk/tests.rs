//! The image as a whole: its bytes, and what damage does to it.

use proptest::prelude::*;

use super::*;
use crate::data::frame::{FRAME_SIZE, Place, seal, seal_parity};
use crate::policy::{Code, Coding};

/// Frame `index` of the chunk of [`header`].
fn place(index: u32) -> Place {
    Place { handle: header().handle, index }
}

/// Of a stripe of three under `rs:4+2`, its second data chunk.
fn header() -> ChunkHeader {
    ChunkHeader {
        cluster: ClusterId(std::array::from_fn(|at| at as u8 + 1)),
        handle: Handle(0x0102_0304_0506_0708),
        file: FileId(0x11),
        name: FileName::new("iso/u.iso").expect("allowed"),
        file_size: Some(0x22),
        created_ms: 0x33,
        stripe: 2,
        shape: StripeShape {
            coding: Coding { code: Code::ReedSolomon, data: 4, parity: 2 },
            data: 3,
        },
        position: 1,
        replication: 2,
        compression: Compression::Lz4,
        chunk_size: 1 << 26,
        chunk_index: 9,
    }
}

fn sealed(header: &ChunkHeader, raw: &[&[u8]]) -> (Vec<Vec<u8>>, ChunkSeal) {
    let mut builder = SealBuilder::default();
    let frames = (0..).zip(raw).map(|(index, raw)| {
        let mut stored = Vec::new();
        let place = Place { handle: header.handle, index };
        seal(place, raw, header.compression, &mut stored);
        builder.add(raw, stored.len());
        stored
    });
    (frames.collect(), builder.finish())
}

fn image(header: &ChunkHeader, raw: &[&[u8]]) -> Vec<u8> {
    let (frames, seal) = sealed(header, raw);
    encode_image(header, &frames, &seal).expect("a good chunk")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn format_two_is_these_bytes() {
    let golden_header = concat!(
        "4446534348554e4b02008000b09e05f10102030405060708090a0b0c0d0e0f10",
        "0807060504030201110000000000000022000000000000003300000000000000",
        "090000000000000002000000000000040204020301020101090069736f2f752e",
        "69736f0000000000000000000000000000000000000000000000000000000000",
    );
    let golden_frame = "05000000000000003b210d6968656c6c6f";
    let golden_footer = concat!(
        "0807060504030201050000000000000011000000000000002cf24dba5fb0a30e",
        "26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b98240100000011000000",
        "4446535345414c0150000000244e9af9",
    );
    let image = image(&header(), &[b"hello"]);
    assert_eq!(hex(&image), [golden_header, golden_frame, golden_footer].concat());
}

#[test]
fn an_image_tells_all_that_went_into_it() {
    let full = vec![7; FRAME_SIZE];
    let header = ChunkHeader { chunk_size: 2 << 20, ..header() };
    let bytes = image(&header, &[&full, b"end"]);
    let read = Image::decode(&bytes).expect("whole");
    assert_eq!(read.header, header);
    assert_eq!(read.footer.seal.raw_len, FRAME_SIZE as u64 + 3);
    assert_eq!(read.footer.seal.digest, Digest::of(&[&full[..], b"end"].concat()));
    let mut raw = Vec::new();
    frame::open(place(0), read.frame(0).expect("first"), &mut raw).expect("good");
    frame::open(place(1), read.frame(1).expect("second"), &mut raw).expect("good");
    assert_eq!(Digest::of(&raw), read.footer.seal.digest);
    assert_eq!(read.frame(2), None);
    let footer = decode_footer(&bytes).expect("more bytes before it are passed over");
    assert_eq!(footer, read.footer);
    let trailer = bytes.last_chunk().expect("long enough");
    assert_eq!(decode_trailer(trailer), Ok(footer.encoded_len()));
}

#[test]
fn a_header_of_a_later_format_says_so() {
    let mut bytes = encode_header(&header());
    bytes[8] = 3;
    assert!(matches!(decode_header(&bytes), Err(ChunkError::Checksum { .. })), "only damaged");
    bytes.resize(4096, 0);
    bytes[10..12].copy_from_slice(&4096_u16.to_le_bytes());
    let sum = crate::data::digest::crc32c(&[&bytes[..12], &bytes[16..]]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    let newer = ChunkError::Version { part: "chunk header", found: 3 };
    assert_eq!(decode_header(&bytes), Err(newer.clone()));
    assert_eq!(decode_header(&bytes[..HEADER_BYTES_MAX]), Err(newer));

    let mut footer = encode_footer(&sealed(&header(), &[]).1, &[], Handle(1));
    let at = footer.len() - TRAILER_BYTES + 7;
    footer[at] = 3;
    assert_eq!(decode_footer(&footer), Err(ChunkError::Version { part: "chunk footer", found: 3 }));
}

#[test]
fn header_and_footer_of_two_chunks_do_not_pass_for_one() {
    let one = image(&header(), &[b"hello"]);
    let other = image(&ChunkHeader { handle: Handle(5), ..header() }, &[b"hello"]);
    let mixed = [&one[..128], &other[128..]].concat();
    assert_eq!(
        Image::decode(&mixed).expect_err("refused"),
        ChunkError::Field { field: "footer's handle", found: 5 }
    );
}

#[test]
fn the_bounds_of_header_and_footer_are_reached_and_kept() {
    let long = ChunkHeader { name: FileName::new("n".repeat(1024)).expect("allowed"), ..header() };
    let bytes = encode_header(&long);
    assert_eq!(bytes.len(), HEADER_BYTES_MAX);
    assert_eq!(decode_header(&bytes), Ok((long, HEADER_BYTES_MAX)));
    let short = ChunkHeader { name: FileName::new("n").expect("allowed"), ..header() };
    assert_eq!(encode_header(&short).len(), HEADER_BYTES_MIN);

    let frame_lens = vec![STORED; FRAMES_MAX as usize];
    const STORED: u32 = frame::STORED_MAX as u32;
    let seal = ChunkSeal {
        raw_len: u64::from(FRAMES_MAX) * FRAME_SIZE as u64,
        stored_len: u64::from(FRAMES_MAX) * u64::from(STORED),
        frames: FRAMES_MAX,
        digest: Digest([1; 32]),
    };
    let bytes = encode_footer(&seal, &frame_lens, Handle(3));
    assert_eq!(bytes.len(), FOOTER_BYTES_MAX);
    assert_eq!(decode_footer(&bytes).expect("good").seal, seal);
}

#[test]
fn a_footer_that_contradicts_itself_is_refused() {
    let good = ChunkSeal { raw_len: 5, stored_len: 17, frames: 1, digest: Digest([0; 32]) };
    for (seal, lens, refused) in [
        (ChunkSeal { frames: 2, ..good }, &[17_u32][..], "frame count"),
        (ChunkSeal { stored_len: 18, ..good }, &[17], "stored length"),
        (ChunkSeal { stored_len: 11, ..good }, &[11], "frame length"),
        (ChunkSeal { stored_len: 0xffff_ffff, ..good }, &[u32::MAX], "frame length"),
        (ChunkSeal { raw_len: u64::MAX, ..good }, &[17], "raw length"),
    ] {
        let error = decode_footer(&encode_footer(&seal, lens, Handle(1))).expect_err(refused);
        assert!(matches!(error, ChunkError::Field { field, .. } if field == refused), "{error}");
    }
    let mut trailer = *encode_footer(&good, &[17], Handle(1)).last_chunk().expect("long");
    for claim in [0_u32, 72, 78, FOOTER_BYTES_MAX as u32 + 4, u32::MAX] {
        trailer[8..12].copy_from_slice(&claim.to_le_bytes());
        assert!(matches!(decode_trailer(&trailer), Err(ChunkError::Length { .. })), "{claim}");
    }
}

#[test]
fn headers_that_no_writer_makes_are_refused() {
    let coding = |code, data, parity| Coding { code, data, parity };
    let shaped = |coding, data| ChunkHeader { shape: StripeShape { coding, data }, ..header() };
    for bad in [
        ChunkHeader { position: 3, ..header() },
        ChunkHeader { position: 6, ..header() },
        ChunkHeader { replication: 0, ..header() },
        ChunkHeader { chunk_size: 1, ..header() },
        ChunkHeader { chunk_size: u32::MAX, ..header() },
        shaped(coding(Code::ReedSolomon, 4, 2), 0),
        shaped(coding(Code::ReedSolomon, 4, 2), 5),
        shaped(coding(Code::ReedSolomon, 31, 2), 2),
        shaped(coding(Code::ReedSolomon, 255, 255), 2),
        shaped(coding(Code::ReedSolomon, 4, 0), 2),
        shaped(coding(Code::Xor, 4, 2), 2),
        shaped(coding(Code::None, 2, 0), 2),
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
        assert!(decode_header(&encode_header(&bad)).is_err(), "{bad:?}");
        assert!(ImageBuilder::new(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn frames_that_may_not_stand_where_they_come_are_refused() {
    let (full, one) = (vec![0xab; FRAME_SIZE], b"x".as_slice());
    let small = ChunkHeader { chunk_size: 2 << 20, compression: Compression::None, ..header() };
    let refusal = |header: &ChunkHeader, raw: &[&[u8]]| {
        let (frames, seal) = sealed(header, raw);
        encode_image(header, &frames, &seal).expect_err("refused")
    };
    assert_eq!(refusal(&small, &[one, one]), ChunkError::AfterShort { index: 1 });
    assert_eq!(refusal(&small, &[&full, &full, one]), ChunkError::TooManyFrames { frames_max: 2 });
    let tiny = ChunkHeader { chunk_size: 64 << 10, ..small.clone() };
    assert!(matches!(refusal(&tiny, &[&full]), ChunkError::Field { field: "raw length", .. }));

    let (mut data, mut parity) = (Vec::new(), Vec::new());
    seal(place(0), one, Compression::None, &mut data);
    seal_parity(place(0), &data, &mut parity);
    let codec = |index, codec| ChunkError::Frame { index, error: FrameError::Codec(codec) };
    let (mut builder, _) = ImageBuilder::new(&small).expect("good");
    assert_eq!(builder.add(&parity), Err(codec(0, 2)));
    let (mut builder, _) =
        ImageBuilder::new(&ChunkHeader { position: 4, ..small.clone() }).expect("good");
    assert_eq!(builder.add(&data), Err(codec(0, 0)));
    builder.add(&parity).expect("a parity chunk of parity frames");
    let (mut builder, _) = ImageBuilder::new(&small).expect("good");
    data[12] ^= 1;
    assert!(matches!(builder.add(&data), Err(ChunkError::Frame { index: 0, .. })));
}

#[test]
fn a_seal_that_does_not_describe_its_frames_is_refused() {
    let (frames, seal) = sealed(&header(), &[b"hello"]);
    for wrong in [
        ChunkSeal { raw_len: 4, ..seal },
        ChunkSeal { stored_len: 18, ..seal },
        ChunkSeal { frames: 2, ..seal },
    ] {
        let refusal = encode_image(&header(), &frames, &wrong).expect_err("refused");
        assert!(matches!(refusal, ChunkError::Seal { .. }), "{refusal}");
    }
}

#[test]
fn a_parity_seal_covers_the_payloads() {
    let mut stored = Vec::new();
    seal_parity(place(0), b"coded", &mut stored);
    let mut builder = SealBuilder::default();
    builder.add_parity(&stored);
    let seal = builder.finish();
    assert_eq!((seal.raw_len, seal.stored_len), (5, 17));
    assert_eq!(seal.digest, Digest::of(b"coded"));
    let parity = ChunkHeader { position: 5, chunk_index: 0, ..header() };
    encode_image(&parity, &[stored], &seal).expect("they agree");
}

prop_compose! {
    fn any_header()(
        cluster: [u8; 16], numbers: [u64; 3], file_size: Option<u64>, stripe: u32,
        name in "[a-zA-Z0-9ü日. _-]{1,40}(/[a-z]{1,9}){0,3}",
        (data, parity) in (1_u8..=31).prop_flat_map(|data| (Just(data), 1..=32 - data)),
        present in any::<prop::sample::Index>(), position in any::<prop::sample::Index>(),
        replication in 1_u8..=32, lz4: bool, chunk_size in (64_u32 << 10)..=(1 << 30),
        created_ms: u64,
    ) -> Option<ChunkHeader> {
        let shape = StripeShape {
            coding: Coding { code: Code::ReedSolomon, data, parity },
            data: present.index(usize::from(data)) as u8 + 1,
        };
        let slot = position.index(shape.chunks()) as u8;
        Some(ChunkHeader {
            cluster: ClusterId(cluster),
            handle: Handle(numbers[0]),
            file: FileId(numbers[1]),
            name: FileName::new(name).ok()?,
            file_size,
            created_ms,
            stripe,
            shape,
            position: if slot < shape.data { slot } else { slot - shape.data + data },
            replication,
            compression: if lz4 { Compression::Lz4 } else { Compression::None },
            chunk_size,
            chunk_index: numbers[2],
        })
    }
}

proptest! {
    #[test]
    fn every_header_reads_back(header in any_header()) {
        let Some(header) = header else { return Ok(()) };
        let mut bytes = encode_header(&header);
        let len = bytes.len();
        prop_assert_eq!(len % 64, 0);
        bytes.extend_from_slice(b"frames follow");
        prop_assert_eq!(decode_header(&bytes), Ok((header, len)));
    }

    #[test]
    fn every_flipped_bit_of_an_image_is_found(at: prop::sample::Index, bit in 0_u8..8) {
        let mut bytes = image(&header(), &[b"hello"]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let is_found = match Image::decode(&bytes) {
            Err(_) => true,
            Ok(image) => frame::check(place(0), image.frame(0).expect("its footer is good")).is_err(),
        };
        prop_assert!(is_found, "byte {}", at);
    }

    #[test]
    fn a_cut_image_is_refused(cut: prop::sample::Index) {
        let bytes = image(&header(), &[b"hello"]);
        let cut = cut.index(bytes.len());
        prop_assert!(Image::decode(&bytes[..cut]).is_err());
        prop_assert!(Image::decode(&bytes[bytes.len() - cut..]).is_err());
    }

    /// With right sums, so that the checks behind the sums are reached.
    #[test]
    fn no_header_field_makes_it_panic(
        at in 10_usize..128, values in prop::collection::vec(any::<u8>(), 1..20)
    ) {
        let mut bytes = encode_header(&header());
        let end = bytes.len().min(at + values.len());
        bytes[at..end].copy_from_slice(&values[..end - at]);
        let len = usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
        if let Some(rest) = bytes.get(16..len) {
            let sum = crate::data::digest::crc32c(&[&bytes[..12], rest]);
            bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        }
        if let Ok((header, _)) = decode_header(&bytes) {
            prop_assert!(header.validate().is_ok());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_header(&bytes);
        let _ = decode_footer(&bytes);
        if bytes.len() > 8 {
            bytes[..8].copy_from_slice(b"DFSCHUNK");
            let _ = decode_header(&bytes);
        }
        bytes.extend_from_slice(b"DFSSEAL\x01\x50\0\0\0\0\0\0\0");
        let _ = decode_footer(&bytes);
    }
}
