//! A checkpoint written and read again, as a run that is resumed does.

use mmtrain_data::Cursor;
use mmtrain_model::Vlm;
use mmtrain_model::params::{FlatTensors, NamedParam, Part, Tuned};
use mmtrain_train::checkpoint::{Snapshot, TrainState, Writer, find_newest, load};
use mmtrain_train::driver::Trained;
use mmtrain_train::memory::KeepPlan;
use mmtrain_train::optimizer::AdamW;
use tempfile::TempDir;

use burn::tensor::Device;

use crate::shapes::{small, text_only};
use crate::{Place, Workload};

const TRAINED: Trained = Trained { decoder: Tuned::Full, ..Trained::NOTHING };

/// A run that is made of nothing but saves.
struct Saved {
    run: TempDir,
    writer: Writer,
    model: Vlm,
    optimizer: AdamW,
    state: TrainState,
}

impl Saved {
    fn new(device: &Device) -> std::io::Result<Self> {
        let model = Vlm::random(&text_only(small()), 7, device);
        let moments = |params: Vec<NamedParam>| -> FlatTensors {
            params.into_iter().map(|param| (param.info.name, param.value)).collect()
        };
        let optimizer = AdamW {
            exp_avg: moments(model.params(Part::Decoder)),
            exp_avg_sq: moments(model.params(Part::Decoder)),
            updates: 0,
        };
        let keep = KeepPlan { encoder: 0, decoder: model.config.text.num_hidden_layers };
        let state = TrainState::new(Cursor::default(), Vec::new(), keep, Vec::new());
        let run = tempfile::tempdir()?;
        let writer = Writer::new(run.path(), 1, false).map_err(std::io::Error::other)?;
        Ok(Self { run, writer, model, optimizer, state })
    }

    /// Weights and moments.
    fn bytes(&self) -> f64 {
        let values = self.model.params(Part::Decoder).iter().map(|param| param.info.elements()).sum::<usize>();
        3.0 * 4.0 * values as f64
    }

    /// What is read takes the place of what was written.
    fn save_and_load(&mut self) {
        self.state.step += 1;
        let weights = self.model.params(Part::Decoder);
        let snapshot = Snapshot::take(self.state.clone(), weights, &self.optimizer, Vec::new(), None);
        self.writer.save(snapshot).expect("there is room for a checkpoint among the temporary files");
        let found = find_newest(self.run.path()).expect("it can be read").expect("it was just written");
        let loaded = load(&found.dir, self.model.clone(), TRAINED).expect("it is of this model");
        assert_eq!(loaded.state, self.state);
        (self.model, self.optimizer) = (loaded.model, loaded.optimizer);
    }
}

pub(crate) fn checkpoint(Place { device, .. }: &Place) -> std::io::Result<Workload> {
    let mut saved = Saved::new(device)?;
    let tokens = saved.bytes() / 1e6;
    Ok(Workload { step: Box::new(move || saved.save_and_load()), tokens, flops: 0.0 })
}
