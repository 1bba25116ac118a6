//! The catalog's durable side: redb over the disk seam.
