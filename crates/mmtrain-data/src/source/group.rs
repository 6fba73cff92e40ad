//! The `WebDataset` rule: which members of a tar file are one sample.
//!
//! The key of a member is its path up to the first dot of the basename, its extension is the rest in
//! lower case; consecutive members of one key are one sample (`webdataset/tariterators.py`). Members
//! without key or extension, and names like `__index__`, belong to no sample.

use super::tar::{Listing, Member};

/// A real dataset has a handful; the bound keeps a hostile archive from making lookups slow.
const MAX_EXTENSIONS: usize = 256;
/// Stands for extensions beyond the bound; cannot be one itself.
const OTHER: &str = "/";

/// One shard's samples.
#[derive(Debug, Default)]
pub(crate) struct Grouped {
    pub(crate) samples: Vec<Entry>,
    pub(crate) members: Vec<Piece>,
    /// Extensions that occur; members name theirs by its place here.
    pub(crate) extensions: Vec<String>,
}

/// A sample: its key and its first member.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Box<str>,
    pub(crate) first: u32,
}

/// A member of a sample; there are millions of them, so it is small.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    /// Bytes; everything from 4 GiB on is `u32::MAX`, far above any limit.
    pub(crate) size: u32,
    pub(crate) extension: u32,
}

impl Grouped {
    /// Groups the members of a listing. A sample whose last member is cut is left out.
    pub(crate) fn new(listing: &Listing) -> Self {
        let mut grouped = Self::default();
        for member in &listing.members {
            if let Some((key, extension)) = split_name(&member.name) {
                grouped.push(key, &extension, member);
            }
        }
        let cut = listing.fault.as_ref().and_then(|fault| fault.cut.as_deref());
        if let Some((key, _)) = cut.and_then(split_name) {
            grouped.drop_last_if(key);
        }
        grouped
    }

    /// Members of sample `i`.
    pub(crate) fn members(&self, i: usize) -> &[Piece] {
        let end = self.samples.get(i + 1).map_or(self.members.len(), |next| next.first as usize);
        &self.members[self.samples[i].first as usize..end]
    }

    fn push(&mut self, key: &str, extension: &str, member: &Member) {
        if self.samples.last().is_none_or(|last| *last.key != *key) {
            let first = self.members.len() as u32;
            self.samples.push(Entry { key: key.into(), first });
        }
        let extension = self.extension(extension);
        let size = u32::try_from(member.size).unwrap_or(u32::MAX);
        self.members.push(Piece { offset: member.offset, size, extension });
    }

    /// Place of an extension in the table; past [`MAX_EXTENSIONS`] all new ones share the last.
    fn extension(&mut self, extension: &str) -> u32 {
        let known = self.extensions.iter().position(|known| known == extension);
        let at = known.unwrap_or_else(|| {
            let full = self.extensions.len() >= MAX_EXTENSIONS;
            self.extensions.push(if full { OTHER } else { extension }.to_owned());
            self.extensions.dedup();
            self.extensions.len() - 1
        });
        at as u32
    }

    fn drop_last_if(&mut self, key: &str) {
        if let Some(last) = self.samples.pop_if(|last| *last.key == *key) {
            self.members.truncate(last.first as usize);
        }
    }
}

/// Key and lower-case extension of a member's name; `None` where it belongs to no sample.
fn split_name(name: &str) -> Option<(&str, String)> {
    if name.starts_with("__") && name.ends_with("__") {
        return None;
    }
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name[base..].find('.')?;
    if dot == base {
        return None;
    }
    Some((&name[..dot], name[dot + 1..].to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::super::tar::Fault;
    use super::*;

    fn group(names: &[&str], cut: Option<&str>) -> Vec<String> {
        let members = names.iter().map(|name| Member { name: (*name).into(), offset: 0, size: 1 });
        let fault = cut.map(|cut| Fault { reason: "", detail: String::new(), cut: Some(cut.into()) });
        let grouped = Grouped::new(&Listing { members: members.collect(), fault, ..Listing::default() });
        let show = |i: usize| {
            let extensions = grouped.members(i).iter().map(|m| grouped.extensions[m.extension as usize].as_str());
            format!("{}: {}", grouped.samples[i].key, extensions.collect::<Vec<_>>().join(" "))
        };
        (0..grouped.samples.len()).map(show).collect()
    }

    #[test]
    fn the_key_ends_at_the_first_dot_of_the_basename() {
        assert_eq!(split_name("a.b/c.seg.PNG"), Some(("a.b/c", "seg.png".to_owned())));
        assert_eq!(split_name("./000.jpg"), Some(("./000", "jpg".to_owned())));
        for none in ["noext", "dir.d/noext", ".hidden", "dir/._000.jpg", "__meta__", ""] {
            assert_eq!(split_name(none), None, "{none}");
        }
    }

    #[test]
    fn consecutive_members_of_a_key_are_a_sample_and_keys_may_repeat() {
        let names = ["0.jpg", "0.TXT", "README", "1.jpg", "0.jpg", "0.txt"];
        assert_eq!(group(&names, None), ["0: jpg txt", "1: jpg", "0: jpg txt"]);
    }

    #[test]
    fn a_million_extensions_do_not_make_a_million_entries() {
        let member = |i| Member { name: format!("0.{i}"), offset: 0, size: 1 };
        let listing = Listing { members: (0..100_000).map(member).collect(), ..Listing::default() };
        let grouped = Grouped::new(&listing);
        assert_eq!(grouped.extensions.len(), MAX_EXTENSIONS + 1);
        assert_eq!(grouped.members(0).len(), 100_000);
    }

    #[test]
    fn a_cut_sample_is_left_out_and_a_complete_one_before_it_is_not() {
        assert_eq!(group(&["0.jpg", "0.txt", "1.jpg"], Some("1.txt")), ["0: jpg txt"]);
        assert_eq!(group(&["0.jpg", "0.txt"], Some("1.jpg")), ["0: jpg txt"]);
    }
}
