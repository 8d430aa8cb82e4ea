//! What a model says at its last layer: the next token, or, of a reward model, one number. Reward models lie on disk as
//! transformers (and TRL) have them: a class name that ends in the head's, and a linear layer called `score`.

use serde_json::json;

use super::config::ModelConfig;

/// The last layer of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The next token: a policy.
    Tokens,
    /// One number for all up to a token: a reward model (`...ForSequenceClassification` with one label).
    Score,
    /// Whether the step that a token ends is wrong or right: a process reward model (`...ForTokenClassification`).
    Steps,
}

/// The tensors of a head that is no vocabulary.
pub(super) const SCORE_WEIGHT: &str = "score.weight";
pub(super) const SCORE_BIAS: &str = "score.bias";

impl Head {
    const ALL: [Self; 3] = [Self::Tokens, Self::Score, Self::Steps];

    /// How class names of transformers end.
    fn class(self) -> &'static str {
        match self {
            Self::Tokens => "ForCausalLM",
            Self::Score => "ForSequenceClassification",
            Self::Steps => "ForTokenClassification",
        }
    }

    /// PEFT's word for it.
    pub(super) fn task_type(self) -> &'static str {
        match self {
            Self::Tokens => "CAUSAL_LM",
            Self::Score => "SEQ_CLS",
            Self::Steps => "TOKEN_CLS",
        }
    }

    /// The head that a PEFT adapter was trained for; a policy's unless it says otherwise.
    pub(super) fn of_task(task_type: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|head| Some(head.task_type()) == task_type).unwrap_or(Self::Tokens)
    }

    /// Names of what the head tells apart, in the order of its rows.
    fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Tokens => &[],
            Self::Score => &["reward"],
            Self::Steps => &["wrong", "right"],
        }
    }

    /// Name and shape of each of its tensors that no policy has.
    pub(super) fn shapes(self, hidden: usize) -> Vec<(&'static str, Vec<usize>)> {
        match self {
            Self::Tokens => vec![],
            Self::Score => vec![(SCORE_WEIGHT, vec![1, hidden])],
            Self::Steps => vec![(SCORE_WEIGHT, vec![2, hidden]), (SCORE_BIAS, vec![2])],
        }
    }
}

impl ModelConfig {
    /// What the model says.
    pub fn head(&self) -> Head {
        let class = self.architectures.first().map_or("", String::as_str);
        Head::ALL.into_iter().find(|head| class.ends_with(head.class())).unwrap_or(Head::Tokens)
    }

    /// The same trunk under another head.
    pub(super) fn with_head(mut self, head: Head) -> Self {
        let class = self.architectures.first().cloned().unwrap_or_default();
        let family = Head::ALL.iter().find_map(|head| class.strip_suffix(head.class())).unwrap_or(&class);
        self.architectures = vec![format!("{family}{}", head.class())];
        for key in ["id2label", "label2id", "num_labels", "problem_type"] {
            self.more.remove(key);
        }
        let labels = head.labels().iter().enumerate();
        if head != Head::Tokens {
            let id2label = labels.clone().map(|(id, &label)| (id.to_string(), json!(label))).collect();
            let label2id = labels.map(|(id, &label)| (label.to_owned(), json!(id))).collect();
            self.more.insert("id2label".into(), serde_json::Value::Object(id2label));
            self.more.insert("label2id".into(), serde_json::Value::Object(label2id));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(class: &str, head: Head, expected: &str, labels: usize) {
        let mut config = ModelConfig::tiny(8, 0);
        config.architectures = vec![class.to_owned()];
        let config = config.with_head(head);
        assert_eq!((config.architectures[0].as_str(), config.head()), (expected, head));
        let named = config.more.get("id2label").map_or(0, |labels| labels.as_object().unwrap().len());
        assert_eq!(named, labels);
    }

    #[test]
    fn a_head_is_told_by_the_class() {
        check("Qwen3ForCausalLM", Head::Score, "Qwen3ForSequenceClassification", 1);
        check("LlamaForCausalLM", Head::Steps, "LlamaForTokenClassification", 2);
        check("Qwen2ForTokenClassification", Head::Tokens, "Qwen2ForCausalLM", 0);
        check("Qwen2ForSequenceClassification", Head::Steps, "Qwen2ForTokenClassification", 2);
    }

    #[test]
    fn a_class_nobody_named_is_a_policy() {
        let config = ModelConfig { architectures: vec![], ..ModelConfig::tiny(8, 0) };
        assert_eq!(config.head(), Head::Tokens);
    }
}
