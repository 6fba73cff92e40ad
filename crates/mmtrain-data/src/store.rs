//! Where the media lie that rows name: directories, archives that nobody unpacked.
//!
//! - [`MediaRoots`]: several places, tried in their order.

use mmtrain_text::MediaKind;

use crate::sample::{MediaContent, Reject};

mod archive;

mod directory;

mod distant;

mod inline;

mod names;

mod roots;

mod zip;

pub use names::PathMap;
pub use roots::MediaRoots;

/// Finds media by the names that rows have for them.
pub trait MediaStore: Send + Sync {
    /// The file called `name`. Pictures and sounds are read; a clip that lies in a file of its own is named only.
    ///
    /// Reasons: `missing_media`, `media_path_outside`, `media_unreadable`, `media_too_large`.
    fn open(&self, name: &str, kind: MediaKind) -> Result<MediaContent, Reject>;
}

/// What one place has under a name.
enum Found {
    Content(MediaContent),
    Nothing,
    Rejected(Reject),
}

/// Largest file that is read into memory, in bytes.
fn limit(kind: MediaKind) -> u64 {
    match kind {
        MediaKind::Image | MediaKind::Audio => 256 << 20,
        MediaKind::Video => 1 << 30,
    }
}

fn too_large(name: &str, bytes: u64, kind: MediaKind) -> Reject {
    let detail = format!("`{name}` has {bytes} bytes, at most {} are read", limit(kind));
    Reject::new("media_too_large", detail)
}
