//! The program, and the machine that it runs on.

use std::path::Path;

use fs_err as fs;
use mmtrain_media::VideoTools;
use mmtrain_model::device::{DeviceChoice, DeviceMemory};
use mmtrain_train::machine::{FileSystem, Limits, judge};
use mmtrain_train::survey::Finding;
use serde::Serialize;

/// The program, and what it finds around it.
#[derive(Debug, Serialize)]
pub(super) struct Environment {
    pub(super) version: &'static str,
    /// What was built in.
    pub(super) features: Vec<&'static str>,
    /// Such as `x86_64-linux`.
    pub(super) target: String,
    pub(super) device: DeviceState,
    pub(super) videos: VideoTools,
    pub(super) limits: Limits,
    /// Where runs are kept.
    pub(super) storage: FileSystem,
}

/// The device that `--device` means.
#[derive(Debug, Serialize)]
pub(super) struct DeviceState {
    /// `cpu`, `cuda:N` or `wgpu`; none where it cannot be had.
    pub(super) name: Option<String>,
    /// What a GPU calls itself.
    pub(super) product: Option<String>,
    /// Of a GPU whose driver says it.
    pub(super) memory: Option<DeviceMemory>,
    /// Why it cannot be had.
    pub(super) fault: Option<String>,
    /// The version of NVIDIA's driver, where there is one.
    pub(super) driver: Option<String>,
}

impl Environment {
    /// `place`: where runs are kept.
    pub(super) fn look(device: DeviceChoice, place: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            features: features(),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            device: DeviceState::of(device),
            videos: VideoTools::find(),
            limits: Limits::read(),
            storage: FileSystem::try_out(place)?,
        })
    }

    /// What gets in the way; `checkpoint_bytes` of a run.
    pub(super) fn findings(&self, checkpoint_bytes: Option<u64>) -> Vec<Finding> {
        let mut findings = judge(&self.limits, &self.storage, checkpoint_bytes);
        findings.extend(self.device.fault.as_ref().map(|fault| Finding::warning(format!("device: {fault}"))));
        findings.extend(of_videos(&self.videos));
        findings
    }
}

fn of_videos(tools: &VideoTools) -> Option<Finding> {
    if tools.ffmpeg.is_none() || tools.ffprobe.is_none() {
        return Some(Finding::note("no ffmpeg and ffprobe on the `PATH`: clips cannot be read"));
    }
    let lacking = [("prlimit", tools.prlimit), ("setpriv", tools.setpriv)];
    let lacking = lacking.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect::<Vec<_>>();
    let less = || {
        format!("no {}: the child processes that decode clips are less confined (util-linux)", lacking.join(" and "))
    };
    (!lacking.is_empty()).then(|| Finding::warning(less()))
}

fn features() -> Vec<&'static str> {
    let all = [
        ("cuda", cfg!(feature = "cuda")),
        ("fetch", cfg!(feature = "fetch")),
        ("remote", cfg!(feature = "remote")),
        ("serve", cfg!(feature = "serve")),
        ("wgpu", cfg!(feature = "wgpu")),
    ];
    all.into_iter().filter(|(_, built)| *built).map(|(name, _)| name).collect()
}

impl DeviceState {
    fn of(choice: DeviceChoice) -> Self {
        let driver = driver();
        match choice.open() {
            Ok(open) => {
                let (product, memory) = (open.product(), DeviceMemory::of(&open.device));
                Self { name: Some(open.name), product, memory, fault: None, driver }
            }
            Err(error) => {
                let fault = error.hint().map_or(error.to_string(), |hint| format!("{error}; {hint}"));
                Self { name: None, product: None, memory: None, fault: Some(fault), driver }
            }
        }
    }
}

/// As the kernel module says it.
fn driver() -> Option<String> {
    let text = fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    let line = text.lines().next()?;
    Some(line.trim_start_matches("NVRM version:").split_whitespace().collect::<Vec<_>>().join(" "))
}
