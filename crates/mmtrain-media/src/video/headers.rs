//! Headers of videos that have been read before: a clip with twenty captions is asked for twenty times an epoch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::probe::VideoInfo;
use crate::FrameKey;

/// Headers that are kept at most; one takes some 150 bytes.
const MOST: usize = 200_000;

/// Headers by file; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Headers(Arc<Mutex<HashMap<FrameKey, VideoInfo>>>);

impl Headers {
    pub(super) fn get(&self, key: &FrameKey) -> Option<VideoInfo> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    pub(super) fn put(&self, key: FrameKey, info: &VideoInfo) {
        let mut headers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if headers.len() < MOST {
            headers.insert(key, *info);
        }
    }
}
