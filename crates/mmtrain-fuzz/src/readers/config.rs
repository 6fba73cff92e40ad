//! What a user writes, and what a run left of it.

use mmtrain_config::{Request, load, parse_resolved};

use super::text_of;
use crate::desk;

/// A configuration as a file, as the parent of another, as the `config.toml` of a run, and its first line as `--set`.
pub(crate) fn config_toml(bytes: &[u8]) {
    let text = text_of(bytes);
    if let Ok(resolved) = parse_resolved(&text, "config.toml") {
        let again = parse_resolved(&resolved.to_toml(), "again.toml").expect("what is written is read");
        assert_eq!(again.config, resolved.config, "what is written is what was read");
        drop((resolved.show(), resolved.origins()));
    }
    let file = desk::put("config/run.toml", bytes);
    let search = [desk::directory("config")];
    let sets = text.lines().take(1).map(str::to_owned).collect::<Vec<_>>();
    let name = file.to_string_lossy();
    let plain = Request { config: Some(&name), search: &search, ..Request::default() };
    for request in [
        plain,
        Request { config: None, sets: &sets, ..plain },
        Request { config: Some("quickstart"), parent: Some((&text, "parent")), ..plain },
    ] {
        if let Err(errors) = load(&request) {
            drop(errors.to_string());
        }
    }
}
