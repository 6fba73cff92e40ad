//! After the first update: what is frozen has not changed, and of each trained part something has.
//!
//! A part that is declared trained and is not reached by a gradient, or a frozen one that moves, would otherwise be noticed
//! after days. Of what should stay, each tensor is hashed before and after, of large ones the first million values: of a model
//! of billions a second's work. What is trained is compared value by value, on the device, one tensor at a time while it is updated.

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_model::Vlm;
use mmtrain_model::params::{FlatTensors, ParamInfo, Part};

use crate::driver::Trained;
use crate::error::TrainError;

/// Values of a frozen tensor that are hashed, at most.
const HASHED: usize = 1 << 20;

/// Updates after which a part that no gradient has reached is no longer waited for.
const PATIENCE: u64 = 100;

/// AdamW's default `eps`: the update of a gradient that is much smaller may be lost in f32.
const NEGLIGIBLE: f32 = 1e-8;

/// What the parts were before an update, until something of each trained one has been seen to change.
#[derive(Debug)]
pub struct Verification {
    trained: Trained,
    /// Hashes of frozen tensors by name; compared after the first update.
    frozen: BTreeMap<String, blake3::Hash>,
    /// Trained parts that no gradient has reached yet.
    pending: Vec<Part>,
    /// Updates that were looked at.
    updates: u64,
}

/// How many tensors of some parts an update changed, still on the device. `[1]` each
#[derive(Debug)]
pub struct Changes(BTreeMap<Part, Option<Tensor<1>>>);

impl Changes {
    /// Of these parts, none yet.
    pub fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        Self(parts.into_iter().map(|part| (part, None)).collect())
    }

    /// Whether a parameter is of one of the parts.
    pub fn wants(&self, info: &ParamInfo) -> bool {
        self.0.contains_key(&info.part)
    }

    /// Compares a parameter before and after the update. `[elements]` both
    pub fn look(&mut self, info: &ParamInfo, before: Tensor<1>, after: Tensor<1>) {
        let Some(count) = self.0.get_mut(&info.part) else { return };
        let changed = (before - after).abs().max().greater_elem(0.0).float();
        *count = Some(match count.take() {
            Some(count) => count + changed,
            None => changed,
        });
    }

    fn of(&mut self, part: Part) -> usize {
        let count = self.0.get_mut(&part).and_then(Option::take);
        count.map_or(0, |count| count.into_scalar::<f32>() as usize)
    }
}

impl Verification {
    /// Before the first update.
    pub fn new(model: &Vlm, trained: Trained) -> Self {
        let pending = Part::ALL.into_iter().filter(|&part| trained.part(part).is_trained()).collect();
        Self { trained, frozen: hashes(model, trained), pending, updates: 0 }
    }

    /// What is to be looked at in the next update, if anything is.
    pub fn changes(&self) -> Option<Changes> {
        (!self.pending.is_empty()).then(|| Changes::new(self.pending.iter().copied()))
    }

    /// Looks at what an update changed, and at the model after it; says so in the log.
    ///
    /// A part without any gradient, such as the connector in a step without media, is looked at in a later step.
    ///
    /// # Errors
    ///
    /// [`TrainError::Unverified`] with the names of frozen tensors that changed, or with those of a part that had gradients and
    /// stayed.
    pub fn check(&mut self, mut changes: Changes, after: &Vlm, reached: &[Part], step: u64) -> Result<(), TrainError> {
        self.updates += 1;
        if self.updates == 1 {
            self.check_frozen(after, step)?;
        }
        let seen = self.pending.iter().copied().filter(|part| reached.contains(part)).collect::<Vec<_>>();
        for &part in &seen {
            let (changed, infos) = (changes.of(part), after.infos(part).into_iter());
            let names = infos.filter(|info| self.trained.part(part).trains(info)).map(|info| info.name);
            let names = names.collect::<Vec<_>>();
            let (of, stayed) = (names.len(), if changed == 0 { names } else { Vec::new() });
            refuse("did not change, though trained", stayed, step)?;
            tracing::info!("step {step}: {changed} of {of} trained tensors of the {} changed", part.name());
        }
        self.pending.retain(|part| !seen.contains(part));
        if self.updates == PATIENCE {
            for part in self.pending.drain(..) {
                tracing::warn!("step {step}: the {} is trained, and no gradient has reached it yet", part.name());
            }
        }
        Ok(())
    }

    fn check_frozen(&self, after: &Vlm, step: u64) -> Result<(), TrainError> {
        let hashes = hashes(after, self.trained);
        let moved = hashes.into_iter().filter(|(name, hash)| self.frozen.get(name) != Some(hash));
        refuse("changed, though frozen", moved.map(|(name, _)| name).collect(), step)?;
        tracing::info!("step {step}: {} frozen tensors stayed", self.frozen.len());
        Ok(())
    }
}

/// The parts that gradients were found for from which an update follows. Those behind gates that are closed have zeros only.
pub fn reached(gradients: &FlatTensors) -> Vec<Part> {
    let is_reached = |part: &Part| {
        let own = gradients.iter().filter(|(name, _)| name.starts_with(part.prefix()));
        let sizes = own.map(|(_, gradient)| gradient.clone().abs().max()).reduce(Tensor::max_pair);
        sizes.is_some_and(|largest| largest.into_scalar::<f32>() > NEGLIGIBLE)
    };
    Part::ALL.into_iter().filter(is_reached).collect()
}

fn refuse(what: &'static str, names: Vec<String>, step: u64) -> Result<(), TrainError> {
    if names.is_empty() { Ok(()) } else { Err(TrainError::Unverified { step, what, names }) }
}

/// Of the tensors that are not trained.
fn hashes(model: &Vlm, trained: Trained) -> BTreeMap<String, blake3::Hash> {
    let mut hashes = BTreeMap::new();
    for part in Part::ALL {
        model.for_each(part, &mut |info, value| {
            if !trained.part(part).trains(&info) {
                let values: Tensor<1> = value().slice_dim(0, 0..info.elements().min(HASHED));
                hashes.insert(info.name, blake3::hash(values.cast(DType::F32).into_data().as_bytes()));
            }
        });
    }
    hashes
}

#[cfg(test)]
mod tests;
