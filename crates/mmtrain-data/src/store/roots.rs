//! The places where media are looked for, in their order.

use std::path::Path;

use mmtrain_text::MediaKind;

use super::archive::{Archive, is_archive, part_of_split};
use super::directory::Directory;
use super::distant::Distant;
use super::names::{candidates, inside, outside};
use super::{Found, MediaStore, PathMap, inline};
use crate::place::{Entry, Kind};
use crate::sample::{MediaContent, Reject};
use crate::{DataError, Place as At};

/// Names that a message lists.
const MAX_LISTED: usize = 6;

/// Directories, zip and tar files, of which none is ever unpacked.
///
/// A name is looked up below each place, first as it is, then with the other extensions of its kind. It never leads
/// out of all places: `..` is refused, an absolute path has to lie below one of them or be mapped to where it lies, and
/// a link has to lead to one of them.
pub struct MediaRoots {
    places: Vec<Place>,
    maps: Vec<PathMap>,
    /// The directories that maps lead to.
    mapped: Vec<Directory>,
    /// What was found and is not used, for messages.
    notes: Vec<String>,
}

enum Place {
    Directory(Directory),
    /// A directory on a server.
    Distant(Distant),
    Archive(Archive),
}

impl MediaRoots {
    /// Opens places in the order in which they are tried.
    pub fn open(places: impl IntoIterator<Item: Into<At>>, maps: Vec<PathMap>) -> Result<Self, DataError> {
        let mut roots = Self { places: Vec::new(), mapped: mapped(&maps), maps, notes: Vec::new() };
        for place in places {
            roots.add(&place.into())?;
        }
        Ok(roots)
    }

    /// These directories and the zip files in them: where media lie that came with their annotations.
    pub fn beside(dirs: impl IntoIterator<Item: Into<At>>, maps: Vec<PathMap>) -> Result<Self, DataError> {
        let dirs: Vec<At> = dirs.into_iter().map(Into::into).collect();
        let mut roots = Self::open(&dirs, maps)?;
        for dir in &dirs {
            for place in archives_in(dir)? {
                // What was not asked for is no error; it is told where a file is missing.
                if let Err(error) = roots.add(&place) {
                    roots.notes.push(error.to_string());
                }
            }
        }
        Ok(roots)
    }

    fn add(&mut self, at: &At) -> Result<(), DataError> {
        let path = at.path();
        // What a server has below an address shows when it is asked for.
        let kind = if at.is_remote() && !is_archive(path) { Kind::Directory } else { at.kind()? };
        self.places.push(match kind {
            Kind::Nothing => return Err(DataError::NotFound { path: path.to_path_buf() }),
            Kind::Directory if at.is_remote() => Place::Distant(Distant::new(at.clone())),
            Kind::Directory => Place::Directory(Directory::open(path)?),
            Kind::File if is_archive(path) => {
                let archive = Archive::open(at)?;
                self.notes.extend(archive.fault().map(|fault| format!("`{at}` {fault}")));
                Place::Archive(archive)
            }
            Kind::File => {
                let detail = "is no place of media: a directory, a `.zip` or a `.tar`".to_owned();
                return Err(DataError::Rows { path: path.to_path_buf(), detail });
            }
        });
        Ok(())
    }

    fn directories(&self) -> impl Iterator<Item = &Directory> {
        let places = self.places.iter().filter_map(|place| match place {
            Place::Directory(directory) => Some(directory),
            Place::Distant(_) | Place::Archive(_) => None,
        });
        places.chain(&self.mapped)
    }

    /// The name below the places, or an absolute one below one of the directories.
    fn look_up(&self, name: &str, kind: MediaKind) -> Result<Found, Reject> {
        let allowed: Vec<&Path> = self.directories().map(Directory::real).collect();
        if name.starts_with('/') {
            let path = Path::new(name);
            let mut below = self.directories().filter_map(|directory| Some((directory, directory.below(path)?)));
            let (directory, rest) = below.next().ok_or_else(|| outside(name))?;
            let rest = inside(&rest.to_string_lossy()).map_err(|_| outside(name))?;
            return Ok(first(candidates(&rest, kind), |name| directory.find(name, kind, &allowed)));
        }
        let name = inside(name)?;
        Ok(first(candidates(&name, kind), |name| {
            first(self.places.iter(), |place| match place {
                Place::Directory(directory) => directory.find(name, kind, &allowed),
                Place::Distant(distant) => distant.find(name, kind),
                Place::Archive(archive) => archive.find(name, kind),
            })
        }))
    }

    fn missing(&self, name: &str, kind: MediaKind) -> Reject {
        let places = self.places.iter().map(|place| match place {
            Place::Directory(directory) => directory.path().display().to_string(),
            Place::Distant(distant) => distant.to_string(),
            Place::Archive(archive) => archive.path().display().to_string(),
        });
        let places: Vec<String> = places.take(MAX_LISTED).collect();
        let tried: Vec<String> = candidates(name, kind).collect();
        let detail = format!("none of `{}` is in `{}`", tried.join("`, `"), places.join("`, `"));
        let detail = [&[detail], &self.notes[..]].concat().join("; ");
        Reject::new("missing_media", detail)
    }
}

/// Zip files and parts of split ones, by name; none where nothing is listed.
fn archives_in(dir: &At) -> std::io::Result<Vec<At>> {
    if !dir.can_list() {
        return Ok(Vec::new());
    }
    let is_archive = |entry: &Entry| {
        let path = Path::new(&entry.name);
        let is_zip = path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("zip"));
        (is_zip || part_of_split(path).is_some()) && !entry.is_dir
    };
    let mut names = dir.entries(usize::MAX)?.unwrap_or_default();
    names.retain(is_archive);
    names.sort();
    Ok(names.iter().map(|entry| dir.join(Path::new(&entry.name))).collect())
}

/// The directories to which maps lead with absolute paths.
fn mapped(maps: &[PathMap]) -> Vec<Directory> {
    let absolute = maps.iter().map(|map| Path::new(&map.to)).filter(|to| to.is_absolute());
    absolute.filter_map(|to| Directory::open(to).ok()).collect()
}

/// The first that is found or rejected.
fn first<T>(mut of: impl Iterator<Item = T>, mut find: impl FnMut(&T) -> Found) -> Found {
    of.find_map(|item| match find(&item) {
        Found::Nothing => None,
        found => Some(found),
    })
    .unwrap_or(Found::Nothing)
}

impl MediaStore for MediaRoots {
    fn open(&self, name: &str, kind: MediaKind) -> Result<MediaContent, Reject> {
        if let Some(bytes) = inline::data_url(name, kind) {
            return bytes.map(MediaContent::Bytes);
        }
        if name.contains("://") && !name.starts_with("file://") {
            let detail = format!("`{}` is an address; nothing is fetched", name.escape_debug());
            return Err(Reject::new("missing_media", detail));
        }
        let name = name.strip_prefix("file://").unwrap_or(name);
        let mapped = self.maps.iter().find_map(|map| map.apply(name));
        let name = mapped.as_deref().unwrap_or(name);
        match self.look_up(name, kind)? {
            Found::Content(content) => Ok(content),
            Found::Nothing => Err(self.missing(name, kind)),
            Found::Rejected(reject) => Err(reject),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    const IMAGE: MediaKind = MediaKind::Image;

    /// A directory with these files, each holding its own name.
    fn directory(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for name in names {
            let path = dir.path().join(name);
            fs_err::create_dir_all(path.parent().expect("below the directory")).expect("made");
            fs_err::write(path, name).expect("written");
        }
        dir
    }

    #[test]
    fn an_absolute_name_may_go_the_way_of_the_links() {
        let real = directory(&["a/1.jpg"]);
        let dir = tempfile::tempdir().expect("a directory");
        let link = dir.path().join("datasets");
        symlink(real.path(), &link).expect("linked");
        let roots = MediaRoots::open([link.as_path()], Vec::new()).expect("opened");
        for way in [link.join("a/1.jpg"), real.path().join("a/1.jpg")] {
            assert!(roots.open(&way.to_string_lossy(), IMAGE).is_ok(), "{}", way.display());
        }
    }

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/data").join(name)
    }

    fn roots(places: &[&Path], maps: &[(&str, &str)]) -> MediaRoots {
        let places: Vec<_> = places.iter().map(|place| place.to_path_buf()).collect();
        let maps = maps.iter().map(|(from, to)| PathMap { from: (*from).into(), to: (*to).into() }).collect();
        MediaRoots::open(&places, maps).expect("roots")
    }

    #[track_caller]
    fn holds(roots: &MediaRoots, name: &str, kind: MediaKind, expected: &str) {
        let content = roots.open(name, kind).expect("found");
        assert_eq!(content, MediaContent::Bytes(expected.as_bytes().to_vec()), "{name}");
    }

    fn reason(roots: &MediaRoots, name: &str) -> &'static str {
        roots.open(name, IMAGE).expect_err("rejected").reason
    }

    #[test]
    fn places_are_tried_in_order_and_names_with_other_extensions() {
        let (a, b) = (directory(&["x/1.png", "y.jpg"]), directory(&["x/1.jpg", "z.gif", " A &amp; B.wav", "Y.flac"]));
        let roots = roots(&[a.path(), b.path()], &[]);
        holds(&roots, "x/1.jpg", IMAGE, "x/1.jpg");
        holds(&roots, "./x/1.png", IMAGE, "x/1.png");
        holds(&roots, "z.jpg", IMAGE, "z.gif");
        holds(&roots, " A &amp; B.wav", MediaKind::Audio, " A &amp; B.wav");
        holds(&roots, "Y.wav", MediaKind::Audio, "Y.flac");
        let detail = roots.open("none.jpg", IMAGE).expect_err("missing").detail;
        assert!(detail.starts_with("none of `none.jpg`, `none.png`, "), "{detail}");
        assert!(detail.ends_with(&format!("is in `{}`, `{}`", a.path().display(), b.path().display())), "{detail}");
        assert_eq!(reason(&roots, "x"), "missing_media");
    }

    #[test]
    fn a_clip_on_disk_is_named_and_one_in_an_archive_read() {
        let dir = directory(&["v_-a.mkv"]);
        let clip = roots(&[dir.path()], &[]).open("v_-a", MediaKind::Video).expect("found");
        assert_eq!(clip, MediaContent::File(dir.path().canonicalize().expect("there").join("v_-a.mkv")));
        let archive = fixture("tables/stored.zip");
        holds(&roots(&[&archive], &[]), "a.txt", MediaKind::Video, "stored");
    }

    #[test]
    fn maps_lead_to_other_places_even_outside() {
        let (a, b) = (directory(&["558k/1.jpg"]), directory(&["2.jpg"]));
        let elsewhere = b.path().to_string_lossy().into_owned();
        let roots = roots(&[a.path()], &[("llava/images/", "558k"), ("/old/disk", &elsewhere)]);
        holds(&roots, "llava/images/1.jpg", IMAGE, "558k/1.jpg");
        holds(&roots, "/old/disk/2.jpg", IMAGE, "2.jpg");
        holds(&roots, &format!("file://{}/558k/1.png", a.path().display()), IMAGE, "558k/1.jpg");
    }

    #[test]
    fn no_name_leads_out_of_all_places() {
        let (a, b) = (directory(&["in/1.jpg"]), directory(&["secret.jpg"]));
        symlink(b.path(), a.path().join("link")).expect("linked");
        symlink(a.path().join("in"), a.path().join("near")).expect("linked");
        let sibling = format!("{}-sibling/1.jpg", a.path().display());
        let roots = roots(&[a.path()], &[]);
        let hostile =
            ["../secret.jpg", "in/../../x", "/etc/passwd", "link/secret.jpg", "file:///etc/passwd", "in\0/1.jpg"];
        for name in hostile.into_iter().chain([sibling.as_str()]) {
            assert_eq!(reason(&roots, name), "media_path_outside", "{name:?}");
        }
        holds(&roots, "near/1.jpg", IMAGE, "in/1.jpg");
        assert_eq!(reason(&roots, "https://example.org/1.jpg"), "missing_media");
    }

    #[test]
    fn archives_are_read_as_they_are() {
        let picture = fs_err::read(fixture("messages/images/1.jpg")).expect("bytes");
        for name in ["tables/stored.zip", "tables/deflated.zip"] {
            let roots = roots(&[&fixture(name)], &[]);
            let content = roots.open("d/b.jpg", IMAGE).expect("found");
            assert_eq!(content, MediaContent::Bytes(picture.clone()), "{name}");
            assert_eq!(reason(&roots, "../out.txt"), "media_path_outside");
        }
        holds(&roots(&[&fixture("tables/stored.zip")], &[]), "ü.txt", IMAGE, "name in UTF-8");
        holds(&roots(&[&fixture("tables/stored.zip")], &[]), "stored/a.txt", IMAGE, "stored");
        holds(&roots(&[&fixture("tables/zip64.zip")], &[]), "big.txt", IMAGE, "zip64");
    }

    #[test]
    fn a_directory_that_all_members_are_in_need_not_be_named() {
        let dir = directory(&[]);
        let mut builder = tar::Builder::new(Vec::new());
        for name in ["mnt/x/SoundBible_flac/1.flac", "mnt/x/SoundBible_flac/20.flac"] {
            let mut header = tar::Header::new_ustar();
            header.set_size(name.len() as u64);
            builder.append_data(&mut header, name, name.as_bytes()).expect("appended");
        }
        fs_err::write(dir.path().join("a.tar"), builder.into_inner().expect("an archive")).expect("written");
        let roots = roots(&[&dir.path().join("a.tar")], &[]);
        holds(&roots, "20.wav", MediaKind::Audio, "mnt/x/SoundBible_flac/20.flac");
    }

    #[test]
    fn zip_files_beside_the_annotations_are_found_and_split_ones_named() {
        let dir = directory(&["chat.json", "part.z01"]);
        fs_err::copy(fixture("llava_cc3m/images.zip"), dir.path().join("images.zip")).expect("copied");
        let roots = MediaRoots::beside(&[dir.path().to_path_buf()], Vec::new()).expect("roots");
        assert!(roots.open("GCC_train_002582585.jpg", IMAGE).is_ok());
        assert!(roots.open("images/GCC_train_002582585.jpg", IMAGE).is_ok());
        let detail = roots.open("x.jpg", IMAGE).expect_err("missing").detail;
        assert!(detail.contains("part.z01`: is a part of a split archive: join the parts"), "{detail}");
        let error = MediaRoots::open(&[dir.path().join("part.z01")], Vec::new()).err().expect("refused");
        assert!(error.to_string().contains("zip -s 0 part.zip"), "{error}");
    }

    #[test]
    fn tar_files_are_places_too_and_of_two_members_of_one_name_the_last_is_found() {
        let tar =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/webdataset/python-webdataset-000000.tar");
        let content = roots(&[&tar], &[]).open("000000000.txt", IMAGE).expect("found");
        assert_eq!(content, MediaContent::Bytes(b"the first key once more".to_vec()));
    }

    #[test]
    fn data_addresses_are_decoded_and_broken_ones_rejected() {
        let roots = roots(&[], &[]);
        holds(&roots, "data:image/jpeg;base64,aGVsbG8=", IMAGE, "hello");
        holds(&roots, "data:image;base64,aGVsbG8", IMAGE, "hello");
        assert_eq!(reason(&roots, "data:image/jpeg;base64,%%"), "media_unreadable");
        assert_eq!(reason(&roots, "data:,hello"), "media_unreadable");
    }

    #[test]
    fn a_member_that_is_not_what_the_directory_says_is_unreadable() {
        let dir = directory(&[]);
        let mut bytes = fs_err::read(fixture("tables/stored.zip")).expect("bytes");
        let at = bytes.windows(6).position(|window| window == b"stored").expect("the content");
        bytes[at] ^= 1;
        fs_err::write(dir.path().join("x.zip"), bytes).expect("written");
        let reject = roots(&[&dir.path().join("x.zip")], &[]).open("a.txt", IMAGE).expect_err("rejected");
        assert_eq!(reject.reason, "media_unreadable");
        assert!(reject.detail.contains("checksum"), "{}", reject.detail);
    }
}
