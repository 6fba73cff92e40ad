//! The recorded tensors: `in.*` and `out.*` of one safetensors file, checked as they are read.

use std::path::{Path, PathBuf};

use burn::prelude::Device;
use mmtrain_model::ModelError;
use mmtrain_model::weights::{StoredTensor, TensorFile};

use crate::fail::Refusal;

const HINT: &str = "record it with `transformers` as in scripts/parity/README.md";

/// An opened file.
pub(super) struct Recorded {
    path: PathBuf,
    file: TensorFile,
    device: Device,
}

/// A table of integers. `[rows, cols]`
#[derive(Debug, Clone)]
pub(super) struct IdTable {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) values: Vec<i64>,
}

impl Recorded {
    pub(super) fn open(path: &Path, device: &Device) -> anyhow::Result<Self> {
        if !path.is_file() {
            return Err(Refusal::missing(format!("no recorded tensors at `{}`", path.display()), HINT).into());
        }
        Ok(Self { path: path.to_owned(), file: TensorFile::open(path)?, device: device.clone() })
    }

    /// Where its tensors are wanted.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// A fault of the file.
    pub(super) fn bad(&self, message: &str) -> Refusal {
        Refusal::missing(format!("`{}` {message}", self.path.display()), HINT)
    }

    /// Names of the recorded outputs, without `out.`.
    pub(super) fn outputs(&self) -> Vec<String> {
        self.file.names().filter_map(|name| name.strip_prefix("out.")).map(str::to_owned).collect()
    }

    pub(super) fn output(&self, name: &str) -> Result<StoredTensor, ModelError> {
        self.file.read(&format!("out.{name}"))
    }

    /// An input as it is, if it is there.
    pub(super) fn input(&self, name: &str) -> Result<Option<StoredTensor>, ModelError> {
        let name = format!("in.{name}");
        self.file.shape(&name).map(|_| self.file.read(&name)).transpose()
    }

    /// An integer input, if it is there; `valid` says which values it may hold.
    pub(super) fn ids(&self, name: &str, valid: impl Fn(i64) -> bool) -> anyhow::Result<Option<IdTable>> {
        let Some(tensor) = self.input(name)? else { return Ok(None) };
        let &[rows, cols] = tensor.shape.as_slice() else {
            return Err(self.bad(&format!("holds `in.{name}` of shape {:?}, expected two axes", tensor.shape)).into());
        };
        if rows * cols == 0 {
            return Err(self.bad(&format!("holds an empty `in.{name}`")).into());
        }
        let values = tensor.values.iter().map(|&value| value as i64).collect::<Vec<_>>();
        match values.iter().find(|&&value| !valid(value)) {
            Some(value) => Err(self.bad(&format!("holds {value} in `in.{name}`, which this model cannot take")).into()),
            None => Ok(Some(IdTable { rows, cols, values })),
        }
    }

    /// As [`ids`](Self::ids), with the shape of `like`.
    pub(super) fn ids_like(
        &self,
        name: &str,
        like: &IdTable,
        valid: impl Fn(i64) -> bool,
    ) -> anyhow::Result<Option<IdTable>> {
        let table = self.ids(name, valid)?;
        match &table {
            Some(table) if (table.rows, table.cols) != (like.rows, like.cols) => Err(self
                .bad(&format!(
                    "holds `in.{name}` of {} x {} and `in.input_ids` of {} x {}",
                    table.rows, table.cols, like.rows, like.cols
                ))
                .into()),
            _ => Ok(table),
        }
    }

    /// Refuses an `in.pixel_values` that does not hold pictures of `side` pixels.
    pub(super) fn check_pictures(&self, side: usize) -> anyhow::Result<()> {
        match self.file.shape("in.pixel_values").as_deref() {
            None => Ok(()),
            Some(&[images, 3, height, width]) if images > 0 && (height, width) == (side, side) => Ok(()),
            Some(shape) => Err(self
                .bad(&format!("holds `in.pixel_values` of shape {shape:?}, this encoder takes [_, 3, {side}, {side}]"))
                .into()),
        }
    }

    /// What an output cannot be computed without.
    pub(super) fn need<T>(&self, input: Option<T>, name: &str, for_what: &str) -> anyhow::Result<T> {
        input.ok_or_else(|| self.bad(&format!("lacks `in.{name}`, which {for_what} needs")).into())
    }
}
