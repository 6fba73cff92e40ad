//! Parameters on their way into memory: threads read ahead, and what they read is taken in the order of the model.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use burn::prelude::*;

use super::Checkpoint;
use super::file::TensorFile;
use super::packed::Held;
use super::values::{self, LoadDtype, Values};
use crate::error::ModelError;
use crate::params::{self, Assigned, ParamInfo};
use crate::quantized::PackedWeight;

/// Threads at most: more only wait for memory.
const MAX_THREADS: usize = 8;

/// A tensor to be read.
struct Job<'a> {
    file: &'a TensorFile,
    key: String,
    layout: values::Layout,
    dtype: LoadDtype,
    /// Where the file has it packed.
    packed: Option<Held>,
}

/// What was read of a tensor.
enum Loaded {
    Dense(Values),
    Packed(PackedWeight),
}

/// Values, and whether all of them are finite.
type Outcome = Result<(Loaded, bool), ModelError>;

/// Hands the parameters to `take`, which asks for each in turn. All that is missing, of another shape or number type, or not
/// finite is reported at once.
pub(super) fn in_order<R>(
    checkpoint: &Checkpoint,
    infos: &[ParamInfo],
    dtype: LoadDtype,
    take: impl FnOnce(&mut Reading<'_>) -> R,
) -> Result<R, ModelError> {
    let keys = checkpoint.check(infos)?;
    let jobs = infos.iter().zip(keys).map(|(info, key)| {
        let file = &checkpoint.files[checkpoint.index[&key]];
        Job { file, key, layout: layout(info), dtype: held_as(info, dtype), packed: checkpoint.packed(info) }
    });
    let jobs = jobs.collect::<Vec<_>>();
    thread::scope(|scope| {
        let mut reading = Reading::start(scope, checkpoint, &jobs)?;
        let result = take(&mut reading);
        reading.finish(checkpoint)?;
        Ok(result)
    })
}

/// Norms and biases are small, and f32 always.
pub(super) fn held_as(info: &ParamInfo, dtype: LoadDtype) -> LoadDtype {
    if info.shape.len() < 2 { LoadDtype::F32 } else { dtype }
}

fn layout(info: &ParamInfo) -> values::Layout {
    match (info.layout, info.shape.as_slice()) {
        (params::Layout::Transposed, &[input, _]) => values::Layout::Transposed { row: input },
        _ => values::Layout::AsStored,
    }
}

/// What the threads read. Thread `t` of `n` reads jobs `t`, `t + n`, …, and waits with each until it is taken.
pub(super) struct Reading<'a> {
    jobs: &'a [Job<'a>],
    threads: Vec<Receiver<Outcome>>,
    taken: usize,
    not_finite: Vec<String>,
    failed: Option<ModelError>,
}

impl<'a> Reading<'a> {
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        checkpoint: &'a Checkpoint,
        jobs: &'a [Job<'a>],
    ) -> Result<Self, ModelError>
    where
        'a: 'scope,
    {
        let count = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let start = |first: usize| {
            let (sender, receiver) = sync_channel(0);
            let read = move || read(checkpoint, jobs.iter().skip(first).step_by(count), &sender);
            thread::Builder::new().name("weights".to_owned()).spawn_scoped(scope, read)?;
            Ok(receiver)
        };
        let threads = (0..count).map(start).collect::<std::io::Result<Vec<_>>>()?;
        Ok(Self { jobs, threads, taken: 0, not_finite: Vec::new(), failed: None })
    }

    /// The next parameter; none from the first error on, and for what is not finite. `[elements]`
    pub(super) fn next(&mut self, info: &ParamInfo) -> Option<Tensor<1>> {
        match self.next_held(info, false)? {
            Assigned::Dense(tensor) => Some(tensor),
            Assigned::Packed(_) => unreachable!("it was not to be packed"),
        }
    }

    /// As [`next`](Self::next), but what the file has packed stays so where it can.
    pub(super) fn next_held(&mut self, info: &ParamInfo, stays_packed: bool) -> Option<Assigned> {
        if self.failed.is_some() {
            return None;
        }
        let outcome = self.threads[self.taken % self.threads.len()].recv().expect("a thread sends all of its tensors");
        let key = &self.jobs[self.taken].key;
        self.taken += 1;
        match outcome {
            Ok((Loaded::Packed(weight), true)) if stays_packed => return Some(Assigned::Packed(weight)),
            Ok((loaded, true)) => {
                let tensor = match loaded {
                    Loaded::Dense(values) => values.into_tensor(),
                    Loaded::Packed(weight) => weight.dense(&Device::flex()).reshape([info.elements()]),
                };
                assert_eq!(
                    tensor.dims(),
                    [info.elements()],
                    "parameters are asked for in the order of the model: {key}"
                );
                return Some(Assigned::Dense(tensor));
            }
            Ok((_, false)) => self.not_finite.push(key.clone()),
            Err(error) => self.failed = Some(error),
        }
        None
    }

    fn finish(self, checkpoint: &Checkpoint) -> Result<(), ModelError> {
        match (self.failed, self.not_finite) {
            (Some(error), _) => Err(error),
            (None, names) if !names.is_empty() => Err(ModelError::NotFinite { path: checkpoint.dir.clone(), names }),
            (None, _) => Ok(()),
        }
    }
}

/// Reads one after the other until nobody listens any more.
fn read<'a>(checkpoint: &Checkpoint, jobs: impl Iterator<Item = &'a Job<'a>>, sender: &SyncSender<Outcome>) {
    for job in jobs {
        let outcome = if let Some(held) = &job.packed {
            held.read(checkpoint).map(|(weight, finite)| (Loaded::Packed(weight), finite))
        } else {
            let values = job.file.read_values(&job.key, job.layout, job.dtype);
            values.map(|(values, finite)| (Loaded::Dense(values), finite))
        };
        if sender.send(outcome).is_err() {
            return;
        }
    }
}
