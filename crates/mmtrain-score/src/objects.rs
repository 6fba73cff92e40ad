//! Objects that an answer names although they are not there, after CHAIR (Rohrbach et al. 2018).
//!
//! CHAIR's script finds words with the lemmatizer of `pattern.en` and a table of synonyms of COCO's 80 classes. Here the words
//! are given and plurals are made by rule, so figures are comparable among models that are scored here, not with published ones.

mod plural;

use std::collections::{BTreeMap, BTreeSet};

use crate::ScoreError;
use crate::graded::{mean, ratio};

/// The objects that are looked for.
#[derive(Clone, Debug, Default)]
pub struct KnownObjects {
    /// From the words of a singular or plural to its object.
    forms: BTreeMap<Vec<String>, usize>,
    /// Names as given.
    names: Vec<String>,
    longest: usize,
}

/// An answer and the objects of its picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described<'a> {
    /// What the model said.
    pub answer: &'a str,
    /// Objects that are there, in singular or plural; those that are not known are never asked for.
    pub present: Vec<&'a str>,
}

/// Scores of invented objects. All are shares from 0 to 1, and lower is better but for `found`.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectScores {
    /// Answers that name at least one known object that is not there (CHAIR's s).
    pub answers: f64,
    /// Mentions of objects that are not there among all mentions of known objects (CHAIR's i); 0 if there are none.
    pub mentions: f64,
    /// Known objects that are there and named, among all that are there; 0 if there are none. An answer that names nothing
    /// invents nothing: this shows it.
    pub found: f64,
    /// Each sample, in the order given.
    pub samples: Vec<SampleObjects>,
}

/// What one answer names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleObjects {
    /// Known objects that are named and there, each as often as it is named.
    pub right: Vec<String>,
    /// Known objects that are named and not there, likewise.
    pub invented: Vec<String>,
    /// Known objects that are there and not named.
    pub missed: Vec<String>,
}

impl KnownObjects {
    /// Objects by their singular; a name may have several words (`hot dog`) and is found before names in it (`dog`).
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut known = Self::default();
        for name in names {
            known.add(name);
        }
        known
    }

    fn add(&mut self, name: &str) {
        let singular = words(name);
        let Some((last, before)) = singular.split_last() else { return };
        let object = self.names.len();
        for form in plural::forms(last) {
            let words = before.iter().cloned().chain([form]).collect();
            self.forms.entry(words).or_insert(object);
        }
        self.longest = self.longest.max(singular.len());
        self.names.push(name.to_owned());
    }

    /// Objects in the order in which a text names them; at each word the longest name.
    fn named(&self, text: &str) -> Vec<usize> {
        let words = words(text);
        let mut named = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let found = (1..=self.longest.min(words.len() - at))
                .rev()
                .find_map(|count| self.forms.get(&words[at..at + count]).map(|object| (*object, count)));
            named.extend(found.map(|(object, _)| object));
            at += found.map_or(1, |(_, count)| count);
        }
        named
    }

    fn compare(&self, sample: &Described) -> SampleObjects {
        let present: BTreeSet<usize> = sample.present.iter().filter_map(|name| self.whole(name)).collect();
        let named = self.named(sample.answer);
        let (right, invented): (Vec<usize>, Vec<usize>) =
            named.into_iter().partition(|object| present.contains(object));
        let missed: Vec<usize> = present.iter().filter(|object| !right.contains(object)).copied().collect();
        SampleObjects { right: self.spell(&right), invented: self.spell(&invented), missed: self.spell(&missed) }
    }

    /// The object that a whole name stands for.
    fn whole(&self, name: &str) -> Option<usize> {
        self.forms.get(&words(name)).copied()
    }

    fn spell(&self, objects: &[usize]) -> Vec<String> {
        objects.iter().map(|object| self.names[*object].clone()).collect()
    }
}

impl ObjectScores {
    /// Looks for every known object in every answer.
    pub fn new(known: &KnownObjects, samples: &[Described]) -> Result<Self, ScoreError> {
        if samples.is_empty() {
            return Err(ScoreError::NoSamples);
        }
        let samples: Vec<SampleObjects> = samples.iter().map(|sample| known.compare(sample)).collect();
        let sum = |count: fn(&SampleObjects) -> usize| samples.iter().map(count).sum::<usize>();
        let (right, invented) = (sum(|sample| sample.right.len()), sum(|sample| sample.invented.len()));
        let found = sum(|sample| sample.right.iter().collect::<BTreeSet<_>>().len());
        Ok(Self {
            answers: mean(samples.iter().map(|sample| f64::from(!sample.invented.is_empty()))),
            mentions: ratio(invented as f64, right + invented),
            found: ratio(found as f64, found + sum(|sample| sample.missed.len())),
            samples,
        })
    }
}

/// Runs of letters and digits in lower case; whatever else there is parts them.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(answer: &str, present: &[&str]) -> SampleObjects {
        let known = KnownObjects::new(["dog", "hot dog", "cat", "person", "bus", "dining table"]);
        known.compare(&Described { answer, present: present.to_vec() })
    }

    #[test]
    fn names_are_found_at_word_boundaries_in_singular_and_plural() {
        let found = sample("Two Dogs, a category and a bus-stop; people, hotdogs.", &["dog", "person"]);
        assert_eq!(found.right, ["dog", "person"]);
        assert_eq!(found.invented, ["bus"]);
    }

    #[test]
    fn a_longer_name_hides_the_shorter_one_in_it() {
        let found = sample("A hot dog on dining tables.", &["hot dogs"]);
        assert_eq!((found.right, found.invented), (vec!["hot dog".to_owned()], vec!["dining table".to_owned()]));
    }

    #[test]
    fn shares_count_answers_mentions_and_what_was_found() {
        let known = KnownObjects::new(["dog", "cat"]);
        let samples = [
            Described { answer: "A dog, a dog and a cat.", present: vec!["dog"] },
            Described { answer: "A dog.", present: vec!["dog", "cat", "unicorn"] },
            Described { answer: "", present: vec!["cat"] },
            Described { answer: "A tree.", present: vec![] },
        ];
        let scores = ObjectScores::new(&known, &samples).expect("there are samples");
        assert_eq!((scores.answers, scores.mentions, scores.found), (0.25, 0.25, 0.5));
        assert_eq!(scores.samples[1].missed, ["cat"]);
    }

    #[test]
    fn without_samples_mentions_or_names_nothing_is_divided_by_zero() {
        let known = KnownObjects::new(["dog", "", " - "]);
        assert_eq!(ObjectScores::new(&known, &[]), Err(ScoreError::NoSamples));
        let scores = ObjectScores::new(&known, &[Described { answer: "-", present: vec![] }]).expect("a sample");
        assert_eq!((scores.answers, scores.mentions, scores.found), (0.0, 0.0, 0.0));
        let nothing_known = KnownObjects::new([]).compare(&Described { answer: "a dog", present: vec!["dog"] });
        assert_eq!(nothing_known, SampleObjects { right: vec![], invented: vec![], missed: vec![] });
    }
}
