//! Which layers get an adapter: all linear layers of blocks and connectors, or those that are named.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor, Param, Reparameterizer};
use burn::prelude::*;

use super::{Lora, LoraConfig};
use crate::error::ModelError;
use crate::params::{Part, Path, has_container};

/// What Burn calls the place of an adapter in the tree of modules.
pub(crate) const CONTAINER: &str = "Reparameterization";

/// The output projection of a decoder, which is no layer of a block.
pub(crate) const HEAD: &str = "lm_head.weight";

/// A layer that can have an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layer {
    /// Path from the part, such as `model.layers.0.self_attn.q_proj`.
    path: String,
    /// Path of its weight in the tree of Burn's modules.
    place: String,
}

/// Attaches adapters of zeros to the layers of one part.
///
/// # Errors
///
/// [`ModelError::Adapters`] where a target is no layer, or there are none.
pub fn attach<M: Module>(module: M, part: Part, config: &LoraConfig) -> Result<M, ModelError> {
    let mut find = Find { path: Path::new(part), layers: Vec::new() };
    module.visit(&mut find);
    let chosen = chosen(&find.layers, part, config.targets.as_deref())?;
    Ok(module.apply_reparameterization(Attach { part, chosen, config }))
}

/// Whether a module has adapters.
pub fn has_adapters<M: Module>(module: &M) -> bool {
    has_container(module, CONTAINER)
}

/// Paths from the part to the layers that can have an adapter.
pub(crate) fn layer_paths<M: Module>(module: &M, part: Part) -> Vec<String> {
    let mut find = Find { path: Path::new(part), layers: Vec::new() };
    module.visit(&mut find);
    find.layers.into_iter().map(|layer| layer.path).collect()
}

/// Names of the chosen layers by the place of their weight.
fn chosen(layers: &[Layer], part: Part, targets: Option<&[String]>) -> Result<BTreeMap<String, String>, ModelError> {
    let refused = |message: String| ModelError::Adapters { message, hint: layer_names(layers, part) };
    let unmatched = |target: &&String| !layers.iter().any(|layer| is_named(&layer.path, target));
    if let Some(target) = targets.into_iter().flatten().find(unmatched) {
        return Err(refused(format!("no layer of the {} that can have an adapter is called `{target}`", part.name())));
    }
    let wanted = |layer: &&Layer| targets.is_none_or(|names| names.iter().any(|name| is_named(&layer.path, name)));
    let chosen = layers.iter().filter(wanted).map(|layer| (layer.place.clone(), layer.path.clone()));
    let chosen = chosen.collect::<BTreeMap<_, _>>();
    if chosen.is_empty() {
        return Err(refused(format!("the {} has no layer for an adapter", part.name())));
    }
    Ok(chosen)
}

/// Whether a path is the target, or ends with it behind a dot, as in PEFT.
fn is_named(path: &str, target: &str) -> bool {
    path.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn layer_names(layers: &[Layer], part: Part) -> String {
    let names = layers.iter().filter_map(|layer| layer.path.rsplit('.').next()).collect::<BTreeSet<_>>();
    let names = names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    format!("layers of the {}: {}", part.name(), names.join(", "))
}

/// Finds the weights of [`Projection`](crate::projection::Projection)s.
struct Find {
    path: Path,
    layers: Vec<Layer>,
}

impl ModuleVisitor for Find {
    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        let weight = self.path.within_part();
        let is_layer = self.path.is_in("Struct:Projection") && weight != HEAD;
        if let Some(path) = weight.strip_suffix(".weight").filter(|_| is_layer) {
            self.layers.push(Layer { path: path.to_owned(), place: self.path.place() });
        }
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }
}

struct Attach<'a> {
    part: Part,
    chosen: BTreeMap<String, String>,
    config: &'a LoraConfig,
}

impl Reparameterizer for Attach<'_> {
    type Reparam = Lora;

    fn reparameterize<const D: usize>(
        &mut self,
        place: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Lora>) {
        let lora = self.chosen.get(place).map(|path| {
            let shape = param.lazy_shape();
            let name = format!("{}{path}", self.part.prefix());
            Lora::new(name, [shape[0], shape[1]], self.config, &param.lazy_device())
        });
        (param, lora)
    }
}
