//! Every question that can be asked about a sound.

use super::expected::Expected;
use super::question::{Question, Topic};
use crate::caption::COUNTS;
use crate::sound::{Glide, Pitch, SoundKind, SoundTruth, Timbre};

/// All questions about `truth`.
pub(crate) fn sound_questions(truth: &SoundTruth) -> Vec<Question> {
    let sounds: Vec<_> = truth.events.iter().map(|event| event.sound).collect();
    let mut all: Vec<_> = sounds.iter().flat_map(|&sound| about_one(sound)).collect();
    if let [first, second] = sounds[..] {
        all.extend(order(first, second));
    }
    all.extend(["tone", "chirp", "beats"].map(|noun| existence(noun, sounds.iter().any(|sound| sound.noun() == noun))));
    all
}

fn about_one(sound: SoundKind) -> [Question; 2] {
    match sound {
        SoundKind::Tone { pitch: height, timbre } => [pitch("tone", "is", height), voice("tone", timbre)],
        SoundKind::Chirp { glide, timbre } => [direction(glide), voice("chirp", timbre)],
        SoundKind::Beats { count, pitch: height } => [beats(count), pitch("beats", "are", height)],
    }
}

fn pitch(noun: &str, verb: &str, pitch: Pitch) -> Question {
    let begin = if verb == "is" { "Is" } else { "Are" };
    let wordings = [format!("{begin} the {noun} low or high?"), format!("How high {verb} the {noun}, low or high?")];
    let sentence = |word: &str| format!("The {noun} {verb} {word}.");
    Question::choice(Topic::Pitch, wordings, &["low", "high"], pitch as usize, sentence)
}

fn voice(noun: &str, timbre: Timbre) -> Question {
    let wordings =
        [format!("Is the {noun} smooth or buzzing?"), format!("How does the {noun} sound, smooth or buzzing?")];
    let sentence = |word: &str| format!("The {noun} is {word}.");
    Question::choice(Topic::Timbre, wordings, &["smooth", "buzzing"], timbre as usize, sentence)
}

fn direction(glide: Glide) -> Question {
    let wordings = [
        "Is the pitch of the chirp rising or falling?",
        "Which way does the pitch of the chirp go, rising or falling?",
    ];
    let sentence = |word: &str| format!("The pitch of the chirp is {word}.");
    let question = Question::choice(
        Topic::Direction,
        wordings.map(str::to_owned),
        &["rising", "falling"],
        glide as usize,
        sentence,
    );
    let options = [vec!["rising", "rises", "rise", "up"], vec!["falling", "falls", "fall", "down"]];
    let options = options.map(|words| words.into_iter().map(str::to_owned).collect());
    Question { expected: Expected::Choice { options: options.into(), right: glide as usize }, ..question }
}

fn beats(count: usize) -> Question {
    let wordings = ["How many beats are there?", "How many beats can you hear?"].map(str::to_owned);
    Question::count(wordings, count, |count| match count {
        1 => "There is one beat.".to_owned(),
        _ => format!("There are {} beats.", COUNTS[count]),
    })
}

/// What comes first and what last, asked either way round.
fn order(first: SoundKind, second: SoundKind) -> Vec<Question> {
    let (one, other) = (first.noun(), second.noun());
    let asked = [("first", one, other), ("last", other, one)].map(|(place, right, wrong)| {
        let wordings = [
            format!("What comes {place}, the {one} or the {other}?"),
            format!("What comes {place}, the {other} or the {one}?"),
        ];
        let verb = |noun: &str| if noun == "beats" { "come" } else { "comes" };
        let sentence = |noun: &str| format!("The {noun} {} {place}.", verb(noun));
        Question::choice(Topic::Order, wordings, &[right, wrong], 0, sentence)
    });
    asked.into()
}

fn existence(noun: &str, there: bool) -> Question {
    let (some, verb) = if noun == "beats" { (noun.to_owned(), "are") } else { (format!("a {noun}"), "is") };
    let begin = if verb == "is" { "Is" } else { "Are" };
    let wordings = [format!("{begin} there {some} in the sound?"), format!("Can you hear {some}?")];
    let (yes, no) =
        (format!("Yes, there {verb} {some} in the sound."), format!("No, there {verb} no {noun} in the sound."));
    Question::existence(wordings, there, yes, no)
}
