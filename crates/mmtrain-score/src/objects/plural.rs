//! English plurals by rule.

/// Plurals that no rule gives, of things that are seen in pictures.
const IRREGULAR: &[(&str, &str)] = &[
    ("child", "children"),
    ("foot", "feet"),
    ("goose", "geese"),
    ("man", "men"),
    ("mouse", "mice"),
    ("ox", "oxen"),
    ("person", "people"),
    ("tooth", "teeth"),
    ("woman", "women"),
];
/// Endings whose `f` becomes `v`: knives, loaves, shelves, calves, scarves.
const TO_VES: &[(&str, &str)] =
    &[("ife", "ives"), ("eaf", "eaves"), ("oaf", "oaves"), ("elf", "elves"), ("alf", "alves"), ("arf", "arves")];

/// A word in lower case with the plurals that it may have: itself first (`sheep`, `scissors`).
pub(super) fn forms(word: &str) -> Vec<String> {
    let mut forms = vec![word.to_owned(), format!("{word}s")];
    forms.extend(IRREGULAR.iter().find(|(singular, _)| *singular == word).map(|(_, plural)| (*plural).to_owned()));
    forms.extend(compound_of_man(word));
    if ["s", "x", "z", "ch", "sh", "o"].iter().any(|end| word.ends_with(end)) {
        forms.push(format!("{word}es"));
    }
    if let Some(stem) = word.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u'])) {
        forms.push(format!("{stem}ies"));
    }
    let to_ves = |(end, plural): &(&str, &str)| word.strip_suffix(end).map(|stem| format!("{stem}{plural}"));
    forms.extend(TO_VES.iter().find_map(to_ves));
    forms
}

/// `fireman`, `policewoman`; the plural in `s` (`humans`) is a form as well.
fn compound_of_man(word: &str) -> Option<String> {
    word.strip_suffix("man").filter(|stem| !stem.is_empty()).map(|stem| format!("{stem}men"))
}

#[cfg(test)]
mod tests {
    use super::forms;

    #[test]
    fn plurals_follow_the_ending() {
        let pairs = [
            ("dog", "dogs"),
            ("bus", "buses"),
            ("box", "boxes"),
            ("bench", "benches"),
            ("toothbrush", "toothbrushes"),
            ("potato", "potatoes"),
            ("pony", "ponies"),
            ("toy", "toys"),
            ("knife", "knives"),
            ("giraffe", "giraffes"),
            ("leaf", "leaves"),
            ("scarf", "scarves"),
            ("person", "people"),
            ("fireman", "firemen"),
            ("policewoman", "policewomen"),
            ("sheep", "sheep"),
        ];
        for (singular, plural) in pairs {
            assert!(forms(singular).contains(&plural.to_owned()), "{plural}: {:?}", forms(singular));
        }
    }

    #[test]
    fn a_vowel_before_y_keeps_it() {
        assert!(!forms("monkey").contains(&"monkeies".to_owned()));
    }
}
