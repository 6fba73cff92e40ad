//! `mmtrain data show --html`: one page with pictures and tokens that needs nothing from outside.

use mmtrain_data::{Feedback, Preparer};

use super::runs::Run;
use super::shown::{Seen, Shown};
use crate::report::medium::{element, small_file};
use crate::report::text::{escaped, push};

/// Nothing may be loaded or run, whatever the data hold.
const POLICY: &str = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'";
const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn page(shown: &[Shown], preparer: &Preparer) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Samples</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<h1>{} samples</h1>\n<p>Template <code>{}</code>, rows of at most {} tokens. \
         <mark>Marked words</mark> are learned.</p>\n",
        shown.len(),
        escaped(&preparer.template.to_string()),
        preparer.max_seq,
    );
    html.extend(shown.iter().map(article));
    html + "</body>\n</html>\n"
}

fn article(shown: &Shown) -> String {
    let mut html = format!("<article>\n<h2>{}</h2>\n", escaped(&shown.name));
    match &shown.outcome {
        Ok(seen) => html.push_str(&body(seen)),
        Err(skip) => push(
            &mut html,
            format_args!("<p class=\"out\">left out: <b>{}</b> {}</p>\n", escaped(&skip.reason), escaped(&skip.detail)),
        ),
    }
    html + "</article>\n"
}

fn body(seen: &Seen) -> String {
    let (tokens, learned) = (seen.encoded.input_ids.len(), seen.encoded.supervised_tokens());
    let mut html = format!("<p class=\"figures\">{tokens} tokens, {learned} learned</p>\n<div class=\"media\">\n");
    for (number, (medium, seen)) in seen.raw.media.iter().zip(&seen.media).enumerate() {
        let extent = seen.extent();
        let separator = if extent.is_empty() { "" } else { ", " };
        let caption = format!("{} {number}: {extent}{separator}{} tokens", seen.kind, seen.tokens);
        let file = small_file(medium).unwrap_or_default();
        push(
            &mut html,
            format_args!("<figure>{}<figcaption>{caption}</figcaption></figure>\n", element(&file, &seen.kind)),
        );
    }
    html.push_str("</div>\n<pre>");
    html.extend(seen.runs.iter().map(tokens_of));
    html + "</pre>\n" + &judged(seen)
}

fn tokens_of(run: &Run) -> String {
    match run {
        Run::Words { text, learned: true } => format!("<mark>{}</mark>", escaped(text)),
        Run::Words { text, learned: false } => escaped(text),
        Run::Media { number, tokens } => format!("<span class=\"medium\">medium {number} × {tokens}</span>"),
    }
}

fn judged(seen: &Seen) -> String {
    match &seen.raw.feedback {
        Some(Feedback::Rejected(worse)) => {
            let answer = worse.turns.last().map(mmtrain_text::Turn::text).unwrap_or_default();
            format!("<p class=\"worse\">rejected: {}</p>\n", escaped(&answer))
        }
        Some(Feedback::Wanted(wanted) | Feedback::Judged { wanted, .. }) => format!("<p>wanted: {wanted}</p>\n"),
        None => String::new(),
    }
}
