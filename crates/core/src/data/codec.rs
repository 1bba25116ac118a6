//! LZ4 under the founding header: `[raw length u32 LE][LZ4 block]`.
