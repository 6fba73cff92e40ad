//! What a run leaves to look at: `plots/loss.png` and a self-contained `report.html`.
//!
//! - `series`, `axis`: the lines that `metrics.jsonl` holds, and what to draw them on
//! - `plot`: the loss as a PNG; `bars`: histograms as a PNG; `canvas`: what both draw with
//! - `chart`: inline SVG for the page
//! - `html`: the page; `text`: escaping and numbers
//!
//! Both files are a pure function of what is passed in (no clock, no host name) and are replaced in one move. The
//! page needs nothing from outside and forbids scripts by policy: captions come from data and from a model, so
//! they may hold anything.

mod axis;
mod bars;
mod canvas;
mod chart;
mod html;
pub(crate) mod medium;
mod plot;
mod series;
pub(crate) mod text;

use std::path::Path;

use fs_err as fs;
use mmtrain_train::checkpoint::write_atomically;
use mmtrain_train::metrics::Metric;

use crate::run_dir::Ancestor;

pub(crate) use bars::histogram_png;

/// One part of the model in the ledger of trained parameters.
#[derive(Debug, Clone)]
pub(crate) struct LedgerRow {
    /// `encoder`, `connector` or `decoder`.
    pub(crate) part: String,
    /// How it is trained: `full, lr 1e-3, weight decay 0.01` or `frozen`.
    pub(crate) tuning: String,
    /// Parameters of the part.
    pub(crate) parameters: u64,
    /// Parameters of it that the optimizer changes.
    pub(crate) trained: u64,
}

/// A held-out sample and what the model said about it.
#[derive(Debug, Clone)]
pub(crate) struct ShownSample {
    /// Source and key.
    pub(crate) id: String,
    /// Its first medium as an encoded file; empty where there is none to show.
    pub(crate) medium: Vec<u8>,
    /// The caption of the data set.
    pub(crate) target: String,
    /// The caption that the model generated.
    pub(crate) generated: String,
    /// Attributes stated rightly, and attributes of the scene, where the truth is known.
    pub(crate) correct: Option<(u32, u32)>,
}

/// Everything that is on the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReportInput<'a> {
    /// Name of the run directory.
    pub(crate) run_name: &'a str,
    /// `pretrain`, `sft` or `dpo`.
    pub(crate) stage: &'a str,
    /// All lines of `metrics.jsonl`.
    pub(crate) metrics: &'a [Metric],
    /// The resolved configuration.
    pub(crate) config_toml: &'a str,
    /// One row per part of the model.
    pub(crate) ledger: &'a [LedgerRow],
    /// The runs and models that led to it, the first one first.
    pub(crate) lineage: &'a [Ancestor],
    /// Held-out samples with generated captions.
    pub(crate) samples: &'a [ShownSample],
    /// Names and values for the head of the page, such as device, seed, samples per second, peak memory.
    pub(crate) summary: &'a [(String, String)],
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// The file cannot be written; the source names it.
    #[error("write report")]
    Io(#[from] std::io::Error),
    /// The chart cannot be drawn.
    #[error("draw loss curve: {0}")]
    Draw(String),
    /// The chart cannot be encoded.
    #[error("encode loss curve")]
    Encode(#[from] image::ImageError),
}

/// Draws training and held-out loss over the steps as a PNG of 1000 x 600 pixels.
///
/// Values that are not finite are left out.
pub(crate) fn write_plot(path: &Path, metrics: &[Metric]) -> Result<(), ReportError> {
    replace(path, &plot::loss_png(metrics)?)
}

/// Writes the page; all text in it is escaped.
pub(crate) fn write_html(path: &Path, input: &ReportInput) -> Result<(), ReportError> {
    replace(path, html::page(input).as_bytes())
}

fn replace(path: &Path, contents: &[u8]) -> Result<(), ReportError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(write_atomically(path, contents)?)
}

#[cfg(test)]
mod tests;
