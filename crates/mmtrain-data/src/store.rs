//! Where the media lie that rows name: directories, archives that nobody unpacked, remote places.

use mmtrain_text::MediaKind;

use crate::sample::{MediaContent, Reject};

/// Finds media by the names that rows have for them.
pub trait MediaStore: Send + Sync {
    /// The file called `name`. Pictures and sounds are read; a clip that lies in a file of its own is named only.
    ///
    /// Reasons: `missing_media`, `media_path_outside`, `media_unreadable`, `media_too_large`.
    fn open(&self, name: &str, kind: MediaKind) -> Result<MediaContent, Reject>;
}
