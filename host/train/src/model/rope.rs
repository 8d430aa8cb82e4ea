//! Rotary position embedding: the wave lengths of a model, plain or stretched as Llama 3 does it.
//!
//! transformers 4 keeps the base under `rope_theta` and a stretching under `rope_scaling`; transformers 5 keeps both under
//! `rope_parameters`. All three places are read, and all three are written, so that either version loads what we trained.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What transformers assumes where a config names no base.
const THETA: f64 = 10_000.0;

/// Rotary embedding as Hugging Face configs write it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RopeParameters {
    /// Wave length base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Scaling scheme: `default` (none) or `llama3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_type: Option<String>,
    /// The scheme's older key.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub older_type: Option<String>,
    /// Everything else, by scheme.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What `config.json` says in its three places.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// Wave length base, where transformers 4 keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Base and scaling, where transformers 5 keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeParameters>,
    /// Scaling, where transformers 4 keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeParameters>,
    /// Share of a head that is rotated, where transformers 4 keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<Value>,
}

/// How Llama 3 stretches a model to longer contexts: long waves are divided, short ones kept, those between blended.
#[derive(Debug, PartialEq)]
struct Llama3 {
    factor: f64,
    /// Waves longer than this are divided by `factor`, in positions.
    long: f64,
    /// Waves shorter than this are kept.
    short: f64,
    original_max_position_embeddings: f64,
}

impl RopeParameters {
    fn scheme(&self) -> &str {
        self.rope_type.as_deref().or(self.older_type.as_deref()).unwrap_or("default")
    }

    /// How waves are stretched, if they are; an error is what would be computed wrong.
    fn scaling(&self) -> Result<Option<Llama3>, String> {
        if let Some((key, _)) = self.more.iter().find(|(_, value)| value.is_object()) {
            return Err(format!("rotary embedding by kind of layer (`{key}`) is not supported"));
        }
        check_whole(self.more.get("partial_rotary_factor"))?;
        if let (Some(one), Some(other)) = (&self.rope_type, &self.older_type)
            && one != other
        {
            return Err(format!("rope scaling is `{one}` by its `rope_type` and `{other}` by its `type`"));
        }
        match self.scheme() {
            "default" if self.more.get("factor").is_some_and(|factor| factor.as_f64() != Some(1.0)) => {
                Err("rope scaling has a `factor` and no `rope_type` that says how it is applied".into())
            }
            "default" => Ok(None),
            "llama3" => self.llama3().map(Some),
            other => Err(format!("rope scaling `{other}` is not supported; `llama3` and none are")),
        }
    }

    fn number(&self, key: &str) -> Result<f64, String> {
        let number = self.more.get(key).and_then(Value::as_f64).filter(|number| *number > 0.0);
        number.ok_or_else(|| format!("rope scaling `llama3` needs `{key}`, a number above 0"))
    }

    fn llama3(&self) -> Result<Llama3, String> {
        let original = self.number("original_max_position_embeddings")?;
        let (low, high) = (self.number("low_freq_factor")?, self.number("high_freq_factor")?);
        if low >= high {
            return Err("rope scaling `llama3` needs `low_freq_factor` below `high_freq_factor`".into());
        }
        let factor = self.number("factor")?;
        Ok(Llama3 { factor, long: original / low, short: original / high, original_max_position_embeddings: original })
    }
}

impl Rope {
    /// No scaling, in both places where a base is kept.
    pub(super) fn plain(theta: f64) -> Self {
        let rope_type = Some("default".into());
        let parameters = RopeParameters { rope_theta: Some(theta), rope_type, ..RopeParameters::default() };
        Self { rope_theta: Some(theta), rope_parameters: Some(parameters), ..Self::default() }
    }

    /// Refuses what would be computed wrong, and fills in every place.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        check_whole(self.partial_rotary_factor.as_ref())?;
        let (newer, older) = (self.rope_parameters.take(), self.rope_scaling.take());
        let places = [&newer, &older].map(|place| place.as_ref());
        let scalings = places.into_iter().flatten().map(RopeParameters::scaling).collect::<Result<Vec<_>, _>>()?;
        if scalings.iter().any(|scaling| *scaling != scalings[0]) {
            return Err(
                "`rope_parameters` and `rope_scaling` contradict each other; remove the one that is wrong".into()
            );
        }
        let stated = places.into_iter().flatten().filter_map(|place| place.rope_theta);
        let thetas: Vec<f64> = stated.chain(self.rope_theta).collect();
        let theta = thetas.first().copied().unwrap_or(THETA);
        if !(theta.is_finite() && theta > 0.0) {
            return Err("rope_theta must be a number above 0".into());
        }
        if let Some(other) = thetas.iter().find(|other| **other != theta) {
            return Err(format!(
                "rope_theta is {theta} in one place and {other} in another; remove the one that is wrong"
            ));
        }
        let scaled = scalings.first().is_some_and(Option::is_some);
        let mut parameters = newer.or(older).unwrap_or_default();
        parameters.rope_type = Some(parameters.scheme().to_owned());
        parameters.rope_theta = Some(theta);
        let scaling = RopeParameters { rope_theta: None, ..parameters.clone() };
        *self = Self {
            rope_theta: Some(theta),
            rope_parameters: Some(parameters),
            rope_scaling: scaled.then_some(scaling),
            partial_rotary_factor: self.partial_rotary_factor.take(),
        };
        Ok(())
    }

    /// Angle per position of each of the `head_dim / 2` pairs.
    pub(super) fn frequencies(&self, head_dim: usize) -> Vec<f32> {
        let theta = self.rope_theta.unwrap_or(THETA);
        let scaling = self.rope_scaling.as_ref().and_then(|scaling| scaling.scaling().ok().flatten());
        let plain = (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64));
        plain.map(|frequency| scaling.as_ref().map_or(frequency, |llama3| llama3.scale(frequency)) as f32).collect()
    }
}

/// Refuses heads of which a part is rotated.
fn check_whole(partial_rotary_factor: Option<&Value>) -> Result<(), String> {
    match partial_rotary_factor.is_none_or(|part| part.is_null() || part.as_f64() == Some(1.0)) {
        true => Ok(()),
        false => Err("partial_rotary_factor is not supported; models that rotate whole heads are".into()),
    }
}

impl Llama3 {
    fn scale(&self, frequency: f64) -> f64 {
        let wave = 2.0 * std::f64::consts::PI / frequency;
        if wave > self.long {
            return frequency / self.factor;
        }
        if wave < self.short {
            return frequency;
        }
        let original = self.original_max_position_embeddings;
        let (low, high) = (original / self.long, original / self.short);
        let kept = (original / wave - low) / (high - low);
        (1.0 - kept) * frequency / self.factor + kept * frequency
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LLAMA3: &str = r#"{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 8192}"#;

    fn settled(config: Value) -> Result<Rope, String> {
        let mut rope: Rope = serde_json::from_value(config).unwrap();
        rope.settle().map(|()| rope)
    }

    #[test]
    fn both_shapes_of_config_mean_the_same() {
        let scaling: Value = serde_json::from_str(LLAMA3).unwrap();
        let mut newer = scaling.clone();
        newer["rope_theta"] = json!(5e5);
        let older = settled(json!({"rope_theta": 5e5, "rope_scaling": scaling})).unwrap();
        assert_eq!(older.frequencies(64), settled(json!({"rope_parameters": newer})).unwrap().frequencies(64));
        assert_eq!(older, settled(serde_json::to_value(&older).unwrap()).unwrap(), "what is written reads back");
        assert_eq!(settled(json!({})).unwrap(), Rope::plain(1e4));
        assert_eq!(
            settled(json!({"rope_theta": 7.0, "rope_scaling": {"type": "default"}})).unwrap().rope_theta,
            Some(7.0)
        );
    }

    /// Checked by hand against the published rule, with the numbers of Llama 3.1: waves below 2048 positions are kept,
    /// above 8192 divided by 8.
    #[test]
    fn llama_3_stretches_long_waves_only() {
        let mut newer: Value = serde_json::from_str(LLAMA3).unwrap();
        newer["rope_theta"] = json!(5e5);
        let (scaled, plain) = (settled(json!({"rope_parameters": newer})).unwrap(), Rope::plain(5e5));
        for (i, (scaled, plain)) in scaled.frequencies(128).into_iter().zip(plain.frequencies(128)).enumerate() {
            let wave = 2.0 * std::f32::consts::PI / plain;
            let ratio = plain / scaled;
            match wave {
                _ if wave < 2048.0 => assert_eq!(ratio, 1.0, "pair {i}"),
                _ if wave > 8192.0 => assert_eq!(ratio, 8.0, "pair {i}"),
                _ => assert!(ratio > 1.0 && ratio < 8.0, "pair {i}: {ratio}"),
            }
        }
    }

    #[track_caller]
    fn check_refused(config: Value, expected: &str) {
        let message = settled(config).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn what_two_places_say_must_agree() {
        let (plain, scaled): (Value, Value) = (json!({"rope_type": "default"}), serde_json::from_str(LLAMA3).unwrap());
        let yarn = json!({"type": "yarn", "factor": 4.0});
        check_refused(json!({"rope_parameters": plain, "rope_scaling": yarn}), "rope scaling `yarn`");
        check_refused(json!({"rope_parameters": plain, "rope_scaling": scaled}), "contradict");
        check_refused(json!({"rope_parameters": scaled, "rope_scaling": plain}), "contradict");
        let mut more = scaled.clone();
        more["factor"] = json!(9.0);
        check_refused(json!({"rope_parameters": scaled, "rope_scaling": more}), "contradict");
        check_refused(
            json!({"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}}),
            "500000 in one place and 10000",
        );
        settled(json!({"rope_parameters": plain, "rope_scaling": null, "partial_rotary_factor": 1.0})).unwrap();
        settled(json!({"rope_parameters": scaled, "rope_scaling": scaled, "partial_rotary_factor": null})).unwrap();
    }

    #[test]
    fn what_would_be_computed_wrong_is_refused() {
        check_refused(json!({"rope_scaling": {"type": "yarn", "factor": 4.0}}), "rope scaling `yarn`");
        check_refused(json!({"rope_parameters": {"rope_type": "linear", "factor": 4.0}}), "rope scaling `linear`");
        check_refused(json!({"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}), "`full_attention`");
        check_refused(json!({"rope_parameters": {"partial_rotary_factor": 0.5}}), "partial_rotary_factor");
        check_refused(json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor");
        check_refused(json!({"rope_parameters": {"rope_theta": 1e4}, "partial_rotary_factor": 0.5}), "partial_rotary");
        check_refused(json!({"rope_theta": -1.0}), "rope_theta");
        check_refused(json!({"rope_scaling": {"factor": 4.0}}), "no `rope_type`");
        check_refused(json!({"rope_scaling": {"type": "yarn", "rope_type": "default"}}), "`yarn` by its `type`");
        check_refused(json!({"rope_scaling": {"rope_type": "llama3"}}), "original_max_position_embeddings");
        check_refused(
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
                                    "original_max_position_embeddings": 8192}}),
            "below",
        );
    }
}
