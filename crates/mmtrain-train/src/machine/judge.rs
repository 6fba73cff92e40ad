//! What of a machine gets in the way of runs.

use super::{FileSystem, Limits};
use crate::checkpoint::MARGIN;
use crate::survey::Finding;

/// Fewer open files than this are few for data in many shards.
const FEW_FILES: u64 = 256;

/// Less room than this is little for any run.
const LITTLE_ROOM: u64 = 1 << 30;

/// Judges limits and storage; `checkpoint_bytes` is the size of the newest checkpoint, where there is a run.
pub fn judge(limits: &Limits, storage: &FileSystem, checkpoint_bytes: Option<u64>) -> Vec<Finding> {
    [of_storage(storage), of_room(limits, storage, checkpoint_bytes), of_limits(limits)].concat()
}

fn of_storage(storage: &FileSystem) -> Vec<Finding> {
    let dir = storage.dir.display();
    if let Err(reason) = &storage.write.0 {
        return vec![Finding::warning(format!("nothing can be written in `{dir}`: {reason}"))];
    }
    let lacking = storage.lacking().into_iter();
    let lacking =
        lacking.map(|(what, reason)| Finding::problem(format!("no {what} in `{dir}`, which runs need: {reason}")));
    let memory = storage.is_memory().then(|| Finding::warning(format!("`{dir}` is in memory: a restart forgets it")));
    lacking.chain(memory).collect()
}

fn of_room(limits: &Limits, storage: &FileSystem, checkpoint_bytes: Option<u64>) -> Vec<Finding> {
    let needed = checkpoint_bytes.map_or(LITTLE_ROOM, |bytes| bytes.saturating_add(MARGIN));
    let what =
        if checkpoint_bytes.is_some() { "a checkpoint of this run takes" } else { "a small model's run takes about" };
    let mut findings = Vec::new();
    if storage.free_bytes < needed {
        let (dir, free) = (storage.dir.display(), storage.free_bytes);
        findings.push(Finding::warning(format!("{free} bytes are free in `{dir}`; {what} {needed}")));
    }
    if let Some(most) = limits.file_size_bytes.filter(|most| *most < needed) {
        findings.push(Finding::warning(format!("files may have {most} bytes (`ulimit -f`); {what} {needed}")));
    }
    findings
}

fn of_limits(limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(files) = limits.open_files.filter(|files| *files < FEW_FILES) {
        findings
            .push(Finding::warning(format!("{files} files may be open at once (`ulimit -n`): few for many shards")));
    }
    if let Some(group) = limits.memory_group_bytes.filter(|group| *group < limits.memory_bytes) {
        let all = limits.memory_bytes;
        findings.push(Finding::warning(format!(
            "the control group may have {group} of the machine's {all} bytes of memory; estimates go by the machine's"
        )));
    }
    if let Some(space) = limits.address_space_bytes {
        findings.push(Finding::note(format!("address space is limited to {space} bytes (`ulimit -v`)")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Ability;

    fn limits() -> Limits {
        Limits {
            cores: 2,
            memory_bytes: 8 << 30,
            memory_available_bytes: 4 << 30,
            memory_group_bytes: None,
            open_files: Some(1024),
            address_space_bytes: None,
            file_size_bytes: None,
        }
    }

    fn storage() -> FileSystem {
        let can = Ability(Ok(()));
        FileSystem {
            dir: "runs".into(),
            kind: Some("ext4".into()),
            free_bytes: 2 << 30,
            write: can.clone(),
            lock: can.clone(),
            rename: can.clone(),
            sync: can.clone(),
            preallocate: can,
        }
    }

    #[track_caller]
    fn check(limits: &Limits, storage: &FileSystem, bytes: Option<u64>, expected: &[Finding]) {
        let found = judge(limits, storage, bytes);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.severity, expected.severity);
            assert!(found.message.contains(&expected.message), "no `{}` in {found:?}", expected.message);
        }
    }

    #[test]
    fn an_ordinary_machine_is_fit() {
        check(&limits(), &storage(), None, &[]);
        check(&limits(), &storage(), Some(1 << 30), &[]);
    }

    #[test]
    fn what_a_run_needs_and_does_not_have_is_a_problem() {
        let lacking =
            FileSystem { lock: Ability(Err("not supported".into())), kind: Some("tmpfs".into()), ..storage() };
        let expected =
            [Finding::problem("no lock in `runs`, which runs need: not supported"), Finding::warning("in memory")];
        check(&limits(), &lacking, None, &expected);
        let denied = Ability(Err("permission denied".into()));
        let closed = FileSystem {
            write: denied.clone(),
            lock: denied.clone(),
            rename: denied.clone(),
            sync: denied,
            ..storage()
        };
        check(&limits(), &closed, None, &[Finding::warning("nothing can be written in `runs`: permission denied")]);
        let slow = FileSystem { preallocate: Ability(Err("not supported".into())), ..storage() };
        check(&limits(), &slow, None, &[]);
    }

    #[test]
    fn room_is_compared_with_the_run() {
        let tight = Limits { file_size_bytes: Some(512), ..limits() };
        let expected = [Finding::warning("a checkpoint of this run takes 3222274048"), Finding::warning("`ulimit -f`")];
        check(&tight, &storage(), Some(3 << 30), &expected);
        check(&limits(), &FileSystem { free_bytes: 7, ..storage() }, None, &[Finding::warning("7 bytes are free")]);
        // A save sets aside more than it writes.
        let just = FileSystem { free_bytes: 3 << 20, ..storage() };
        check(&limits(), &just, Some(2 << 20), &[]);
        check(&limits(), &just, Some((2 << 20) + 1), &[Finding::warning("3145728 bytes are free")]);
    }

    #[test]
    fn limits_that_are_tight_are_named() {
        let tight = Limits {
            open_files: Some(64),
            memory_group_bytes: Some(1 << 30),
            address_space_bytes: Some(1 << 32),
            ..limits()
        };
        let expected =
            [Finding::warning("`ulimit -n`"), Finding::warning("control group"), Finding::note("`ulimit -v`")];
        check(&tight, &storage(), None, &expected);
        check(&Limits { memory_group_bytes: Some(8 << 30), ..limits() }, &storage(), None, &[]);
    }
}
