//! What a user writes, and what a run left of it.

use mmtrain_config::{Request, load, parse_resolved};

use super::{text_of, tried};
use crate::desk;

/// A configuration as a file, as the parent of another, as the `config.toml` of a run, and its first line as `--set`.
pub(crate) fn config_toml(bytes: &[u8]) {
    let ways: [fn(&[u8]); 4] = [of_run, of_file, of_set, of_parent];
    for way in tried(&ways, bytes) {
        way(bytes);
    }
}

fn of_run(bytes: &[u8]) {
    if let Ok(resolved) = parse_resolved(&text_of(bytes), "config.toml") {
        let again = parse_resolved(&resolved.to_toml(), "again.toml").expect("what is written is read");
        assert_eq!(again.config, resolved.config, "what is written is what was read");
        drop((resolved.show(), resolved.origins()));
    }
}

fn of_file(bytes: &[u8]) {
    let file = desk::put("config/run.toml", bytes);
    loaded(&Request { config: Some(&file.to_string_lossy()), ..Request::default() });
}

fn of_set(bytes: &[u8]) {
    let sets = text_of(bytes).lines().take(1).map(str::to_owned).collect::<Vec<_>>();
    loaded(&Request { sets: &sets, ..Request::default() });
}

fn of_parent(bytes: &[u8]) {
    let parent = text_of(bytes);
    loaded(&Request { config: Some("quickstart"), parent: Some((&parent, "parent")), ..Request::default() });
}

fn loaded(request: &Request<'_>) {
    let search = [desk::directory("config")];
    if let Err(errors) = load(&Request { search: &search, ..*request }) {
        drop(errors.to_string());
    }
}
