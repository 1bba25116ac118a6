//! How a file of known size is cut into chunks and stripes.
