//! Which modules of a class hold packed weights and which do not, as loaders want to be told: GPTQ's by a list of what is packed,
//! that of bitsandbytes by a list of what is not. Both replace every linear layer that they are not told to leave alone.

use std::collections::BTreeSet;

use super::packed::Packing;
use super::{Export, Form, Outgoing, Source};
use crate::lora::attach::HEAD;
use crate::params::{Layout, ParamInfo, Part};

/// The linear layers of a model on its way out.
pub(super) struct Modules {
    packed: Vec<Module>,
    dense: Vec<Module>,
}

/// A layer by its two names.
struct Module {
    /// On the Hub: that of version 4's modules, or nearly so.
    published: String,
    /// In the tree of version 5.
    path: String,
}

impl Module {
    fn names(&self) -> [&str; 2] {
        [&self.path, &self.published]
    }
}

impl Modules {
    pub(super) fn of(export: &Export<'_>, packing: &Packing) -> Self {
        let names = export.packed_names(packing);
        let (mut packed, mut dense) = (Vec::new(), Vec::new());
        for outgoing in export.packed_tensors(packing) {
            let Some(info) = layer(&outgoing) else { continue };
            let module = export.module(info);
            if names.contains(&info.name) && packing.fits(&outgoing) { packed.push(module) } else { dense.push(module) }
        }
        if !packing.head && export.model.decoder.lm_head.is_none() {
            // There is a module, too, where its weight is the table.
            dense.push(export.module(&head()));
        }
        Self { packed, dense }
    }

    /// The modules that loaders of bitsandbytes have to leave as they are, in both spellings: version 5 compares from the start of
    /// a path, version 4 within it.
    pub(super) fn left(&self) -> BTreeSet<String> {
        let packed = self.packed.iter().flat_map(Module::names).collect::<Vec<_>>();
        self.dense.iter().flat_map(Module::names).map(|name| highest(name, &packed).to_owned()).collect()
    }

    /// The module under which all packed ones are; without a name where that is the model itself.
    pub(super) fn block(&self) -> String {
        let mut paths = self.packed.iter().map(|module| module.path.split('.').collect::<Vec<_>>());
        let first = paths.next().unwrap_or_default();
        let shared = paths.fold(first, |shared, path| {
            shared.into_iter().zip(path).take_while(|(a, b)| a == b).map(|(part, _)| part).collect()
        });
        shared.join(".")
    }

    /// All packed ones, where others are under the same module.
    pub(super) fn listed(&self) -> Option<Vec<&str>> {
        let block = self.block();
        let is_mixed = self.dense.iter().any(|module| is_within(&module.path, &block));
        is_mixed.then(|| self.packed.iter().map(|module| module.path.as_str()).collect())
    }
}

impl Export<'_> {
    fn module(&self, info: &ParamInfo) -> Module {
        let stem = |name: String| name.strip_suffix(".weight").map_or(name.clone(), str::to_owned);
        let published = stem(self.name(info));
        let path = match &self.form {
            Form::Whole(_, names) => stem(names.in_modules(info)),
            Form::Decoder | Form::Own => published.clone(),
        };
        Module { published, path }
    }
}

/// The weight of the output projection, where the model has no parameter of that name.
pub(super) fn head() -> ParamInfo {
    let name = format!("{}{HEAD}", Part::Decoder.prefix());
    ParamInfo { name, part: Part::Decoder, shape: Vec::new(), layout: Layout::Transposed }
}

/// The parameter, where it is of a linear layer, or of a convolution, which GPTQ's loader would replace as well.
fn layer(outgoing: &Outgoing) -> Option<&ParamInfo> {
    let (Source::Param(info) | Source::Grown { info, .. } | Source::Tied { info, .. }) = &outgoing.source else {
        return None;
    };
    (info.layout == Layout::Transposed).then_some(info)
}

/// Whether a module is another, or within it.
fn is_within(path: &str, of: &str) -> bool {
    of.is_empty() || path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The highest module around a dense one that holds nothing packed, whatever that is called.
fn highest<'a>(dense: &'a str, packed: &[&str]) -> &'a str {
    let ends = dense.match_indices('.').map(|(at, _)| at).chain([dense.len()]);
    let mut around = ends.map(|end| &dense[..end]);
    around.find(|path| !packed.iter().any(|packed| is_within(packed, path))).unwrap_or(dense)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(packed: &[&str], dense: &[&str]) -> Modules {
        let of = |paths: &[&str]| {
            paths.iter().map(|&path| Module { published: path.to_owned(), path: path.to_owned() }).collect()
        };
        Modules { packed: of(packed), dense: of(dense) }
    }

    #[test]
    fn what_is_left_is_named_by_the_highest_module_that_holds_nothing_packed() {
        let found = modules(
            &["model.visual.merger.mlp.0", "model.language_model.layers.0.q_proj"],
            &[
                "model.visual.blocks.0.qkv",
                "model.visual.blocks.1.qkv",
                "model.language_model.layers.0.k_proj",
                "lm_head",
            ],
        );
        let left = found.left().into_iter().collect::<Vec<_>>();
        assert_eq!(left, ["lm_head", "model.language_model.layers.0.k_proj", "model.visual.blocks"]);
    }

    #[test]
    fn a_module_of_one_spelling_holds_none_that_is_packed_in_the_other() {
        let module = |path: &str, published: &str| Module { path: path.to_owned(), published: published.to_owned() };
        let found = Modules {
            packed: vec![module("model.visual.merger.mlp.0", "visual.merger.mlp.0")],
            dense: vec![module("model.language_model.layers.0.q_proj", "model.layers.0.q_proj")],
        };
        assert_eq!(found.left().into_iter().collect::<Vec<_>>(), ["model.language_model", "model.layers"]);
    }

    #[test]
    fn what_is_packed_is_listed_where_other_layers_stand_beside_it() {
        let blocks = ["model.text.layers.0.q_proj", "model.text.layers.10.q_proj"];
        let found = modules(&blocks, &["model.vision.layers.0.q_proj", "lm_head"]);
        assert_eq!((found.block().as_str(), found.listed()), ("model.text.layers", None));
        let found = modules(&[blocks[0], "lm_head"], &["model.vision.layers.0.q_proj"]);
        assert_eq!((found.block().as_str(), found.listed()), ("", Some(vec![blocks[0], "lm_head"])));
        // A name that another begins with is not within it.
        let found = modules(&["model.layers.1.q_proj"], &["model.layers.10.q_proj"]);
        assert_eq!((found.block().as_str(), found.listed()), ("model.layers.1.q_proj", None));
    }
}
