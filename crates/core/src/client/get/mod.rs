//! Get.

use std::ops::Range;

use super::{Client, ClientError, GetSummary, Progress, Sink};
use crate::api::Kind;
use crate::name::FileName;

pub(super) async fn get(
    _client: &Client,
    _name: &FileName,
    _range: Option<Range<u64>>,
    _sink: &mut dyn Sink,
    _progress: &Progress,
) -> Result<GetSummary, ClientError> {
    Err(ClientError::new(Kind::NotSupported, "get is not built yet"))
}
