//! Rotary positions in `config.json`: version 4 says `rope_theta` and `rope_scaling`, version 5 `rope_parameters`.
//!
//! Both are read, a key of `rope_parameters` before one of the others, and both are written. Version 4
//! ignores `rope_parameters` without a word, and the other way round.

use serde_json::{Map, Value, json};

use crate::config::hf::keys::{f64_or, flag, given, list, number, object, positive, string};
use crate::config::{RopeScaling, TextConfig, YarnScaling};

/// Contexts are stretched by less than this.
const MAX_FACTOR: f64 = 65_536.0;

const KNOWN: &str = "default, linear, dynamic, llama3, yarn, mrope";

/// What the rotary keys say.
#[derive(Debug, PartialEq)]
pub(super) struct Rope {
    pub(super) theta: f64,
    pub(super) scaling: RopeScaling,
    pub(super) mrope_section: Option<[usize; 3]>,
}

pub(super) fn parse(json: &Value, max_position_embeddings: usize) -> Result<Rope, String> {
    let (v5, v4) = (object(json, "rope_parameters")?, object(json, "rope_scaling")?);
    let empty = Value::Object(Map::new());
    let table = Table { json: v5.or(v4).unwrap_or(&empty), above: json, max_position_embeddings };
    table.reject_partial()?;
    let theta = f64_or(table.json, "rope_theta", f64_or(json, "rope_theta", 10_000.0)?)?;
    Ok(Rope { theta, scaling: table.scaling()?, mrope_section: table.mrope_section()? })
}

/// The table with the scaling's keys.
struct Table<'a> {
    json: &'a Value,
    /// What it stands in.
    above: &'a Value,
    max_position_embeddings: usize,
}

impl Table<'_> {
    fn kind(&self) -> Result<&str, String> {
        Ok(string(self.json, "rope_type")?.or(string(self.json, "type")?).unwrap_or("default"))
    }

    fn scaling(&self) -> Result<RopeScaling, String> {
        Ok(match self.kind()? {
            // Sections of frequencies are no stretch.
            "default" | "mrope" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: self.factor()? },
            "dynamic" => RopeScaling::Dynamic { factor: self.factor()? },
            "llama3" => self.llama3()?,
            "yarn" => RopeScaling::Yarn(self.yarn()?),
            other => return Err(format!("rope scaling \"{other}\" is not supported ({KNOWN})")),
        })
    }

    fn llama3(&self) -> Result<RopeScaling, String> {
        let (low_freq_factor, high_freq_factor) = (self.need("low_freq_factor")?, self.need("high_freq_factor")?);
        if low_freq_factor <= 0.0 || high_freq_factor <= low_freq_factor {
            return Err(format!(
                "rope scaling \"llama3\" has `low_freq_factor` {low_freq_factor} and `high_freq_factor` \
                 {high_freq_factor}, expected them to ascend from above 0"
            ));
        }
        let (factor, original_max_position) = (self.factor()?, self.original()?);
        Ok(RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position })
    }

    /// `_compute_yarn_parameters`; the factor on scores is made explicit.
    fn yarn(&self) -> Result<YarnScaling, String> {
        let original = self.original()?;
        let factor = match given(self.json, "factor") {
            // As transformers 4 infers it; where both numbers are one, nothing says how far the context is stretched.
            None if original < self.max_position_embeddings => self.max_position_embeddings as f64 / original as f64,
            _ => self.factor()?,
        };
        let positive = |key: &str| Ok::<_, String>(number(self.json, key)?.filter(|&number| number > 0.0));
        let paper = YarnScaling::new(factor, original);
        let inferred = match (positive("mscale")?, positive("mscale_all_dim")?) {
            (Some(above), Some(below)) => YarnScaling::mscale(factor, above) / YarnScaling::mscale(factor, below),
            _ => paper.attention_factor,
        };
        Ok(YarnScaling {
            beta_fast: positive("beta_fast")?.unwrap_or(paper.beta_fast),
            beta_slow: positive("beta_slow")?.unwrap_or(paper.beta_slow),
            attention_factor: positive("attention_factor")?.unwrap_or(inferred),
            truncate: flag(self.json, "truncate")?.unwrap_or(true),
            ..paper
        })
    }

    fn factor(&self) -> Result<f64, String> {
        match self.need("factor")? {
            factor if (1.0..=MAX_FACTOR).contains(&factor) => Ok(factor),
            factor => {
                let kind = self.kind()?;
                Err(format!("rope scaling \"{kind}\" has `factor` {factor}, expected 1 to {MAX_FACTOR}"))
            }
        }
    }

    fn need(&self, key: &str) -> Result<f64, String> {
        let kind = self.kind()?;
        number(self.json, key)?.ok_or_else(|| format!("rope scaling \"{kind}\" lacks `{key}`"))
    }

    /// Context length before the stretch; one outside of the table counts more, as `standardize_rope_params` has it.
    fn original(&self) -> Result<usize, String> {
        const KEY: &str = "original_max_position_embeddings";
        Ok(positive(self.above, KEY)?.or(positive(self.json, KEY)?).unwrap_or(self.max_position_embeddings))
    }

    /// That of the table, or the class's own, which stands beside it.
    fn mrope_section(&self) -> Result<Option<[usize; 3]>, String> {
        let section = |json| list(json, "mrope_section", "three integers");
        Ok(section(self.json)?.or(section(self.above)?))
    }

    fn reject_partial(&self) -> Result<(), String> {
        let part = |json| number(json, "partial_rotary_factor");
        match [part(self.json)?, part(self.above)?].into_iter().flatten().find(|&part| (part - 1.0).abs() > 0.0) {
            Some(part) => Err(format!("`partial_rotary_factor` {part} is not supported (1)")),
            None => Ok(()),
        }
    }
}

/// The keys of both spellings.
pub(super) fn write(config: &TextConfig) -> Vec<(&'static str, Value)> {
    let mut table = scaling_table(&config.rope_scaling);
    let plain = config.rope_scaling == RopeScaling::None && config.mrope_section.is_none();
    if let Some(section) = config.mrope_section {
        table.insert("mrope_section".into(), json!(section));
    }
    let mut v4 = table.clone();
    if config.rope_scaling == RopeScaling::None {
        v4.insert("type".into(), "mrope".into());
    }
    table.insert("rope_theta".into(), config.rope_theta.into());
    vec![
        ("rope_theta", config.rope_theta.into()),
        ("rope_scaling", if plain { Value::Null } else { Value::Object(v4) }),
        ("rope_parameters", Value::Object(table)),
    ]
}

fn scaling_table(scaling: &RopeScaling) -> Map<String, Value> {
    let table = match scaling {
        RopeScaling::None => json!({ "rope_type": "default" }),
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Dynamic { factor } => json!({ "rope_type": "dynamic", "factor": factor }),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position,
        }),
        RopeScaling::Yarn(yarn) => json!({
            "rope_type": "yarn",
            "factor": yarn.factor,
            "original_max_position_embeddings": yarn.original_max_position,
            "beta_fast": yarn.beta_fast,
            "beta_slow": yarn.beta_slow,
            "attention_factor": yarn.attention_factor,
            "truncate": yarn.truncate,
        }),
    };
    match table {
        Value::Object(table) => table,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TextFamily;

    fn read(json: &Value) -> Rope {
        parse(json, 4096).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    fn refused(table: &Value) -> String {
        parse(&json!({ "rope_scaling": table }), 4096).expect_err("refused")
    }

    #[test]
    fn both_spellings_are_read() {
        let v4 = json!({ "rope_theta": 5e5,
            "rope_scaling": { "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                              "original_max_position_embeddings": 8192 } });
        let v5 = json!({
            "rope_parameters": { "rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                 "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 } });
        assert_eq!(read(&v4), read(&v5));
        assert!((read(&v4).theta - 5e5).abs() < 1e-9);
        assert!(matches!(read(&v4).scaling, RopeScaling::Llama3 { original_max_position: 8192, .. }));
    }

    #[test]
    fn each_scaling_is_written_in_both_spellings() {
        let llama3 =
            RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position: 64 };
        let yarn = YarnScaling { beta_fast: 16.0, truncate: false, ..YarnScaling::new(4.0, 64) };
        let (linear, dynamic) = (RopeScaling::Linear { factor: 2.0 }, RopeScaling::Dynamic { factor: 2.0 });
        for scaling in [RopeScaling::None, linear, dynamic, llama3, RopeScaling::Yarn(yarn)] {
            for mrope_section in [None, Some([16, 24, 24])] {
                let config = TextConfig {
                    rope_scaling: scaling,
                    rope_theta: 7e4,
                    mrope_section,
                    ..TextConfig::class_defaults(TextFamily::Qwen2)
                };
                let written =
                    write(&config).into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>();
                let without = |key: &str| {
                    let mut json = written.clone();
                    json.remove(key).expect("written");
                    read(&Value::Object(json))
                };
                let expected = Rope { theta: 7e4, scaling, mrope_section };
                assert_eq!(without("rope_parameters"), expected, "version 4");
                assert_eq!(without("rope_scaling"), expected, "version 5");
            }
        }
    }

    #[test]
    fn yarn_infers_what_is_not_said() {
        let yarn = |table: Value| match read(&json!({ "rope_scaling": table })).scaling {
            RopeScaling::Yarn(yarn) => yarn,
            other => panic!("{other:?}"),
        };
        let short = yarn(json!({ "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024 }));
        assert_eq!(short, YarnScaling::new(4.0, 1024));
        assert!((short.attention_factor - 1.138_629_436).abs() < 1e-8);
        assert_eq!(yarn(json!({ "type": "yarn", "original_max_position_embeddings": 1024 })), short);
        assert_eq!(yarn(json!({ "type": "yarn", "factor": 4.0 })).original_max_position, 4096);
        let equal = yarn(json!({ "type": "yarn", "factor": 4.0, "mscale": 0.7, "mscale_all_dim": 0.7 }));
        assert!((equal.attention_factor - 1.0).abs() < 1e-12);
        let given = yarn(json!({ "type": "yarn", "factor": 4.0, "attention_factor": 1.5, "beta_fast": null }));
        assert!((given.attention_factor - 1.5).abs() < 1e-12 && (given.beta_fast - 32.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_supported_is_named_with_what_is() {
        let error = refused(&json!({ "type": "longrope", "factor": 4.0 }));
        assert!(error.contains("longrope") && error.contains("llama3, yarn"), "{error}");
        for kind in ["linear", "dynamic", "yarn"] {
            let error = refused(&json!({ "type": kind }));
            assert!(error.contains(&format!("\"{kind}\" lacks `factor`")), "{error}");
        }
        assert!(refused(&json!({ "type": "linear", "factor": 0.5 })).contains("0.5"));
        let llama3 = json!({ "type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0 });
        assert!(refused(&llama3).contains("ascend"));
        assert!(refused(&json!({ "type": "mrope", "mrope_section": [1, 2] })).contains("three integers"));
        assert!(refused(&json!({ "partial_rotary_factor": 0.5 })).contains("partial_rotary_factor"));
    }
}
