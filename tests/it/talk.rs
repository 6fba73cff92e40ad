//! Answers to conversations: `generate --messages` and several prompts, and `chat`.

use std::io::Write as _;
use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::Place;

/// A model that writes turns down, and a picture.
fn place() -> Place {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q --set data.template=vicuna_v1 --set data.max_seq=256 --set train.steps=4");
    fs_err::copy(place.path("run/samples/0.jpg"), place.path("a.jpg")).expect("copied");
    place
}

fn json_of(place: &Place, args: &str) -> Value {
    serde_json::from_str(&place.ok(&format!("{args} --json")).stdout).expect("JSON")
}

fn ask(place: &Place, messages: &Value, args: &str) -> Value {
    place.write("m.json", messages.to_string().as_bytes());
    json_of(place, &format!("generate --model run --messages m.json --max-new-tokens 8 {args}"))
}

fn user(content: &Value) -> Value {
    json!([{ "role": "user", "content": content }])
}

#[test]
fn messages_say_what_the_command_line_says() {
    let place = place();
    let named = json_of(&place, "generate --model run --image a.jpg --prompt hello --max-new-tokens 8");
    let text = json!({ "type": "text", "text": "hello" });
    let address = format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(place.read("a.jpg")));
    let file = format!("file://{}", place.path("a.jpg").display());
    for shown in [
        json!({ "type": "image", "image": "a.jpg" }),
        json!({ "type": "image", "image": file }),
        json!({ "type": "image_url", "image_url": { "url": address } }),
    ] {
        assert_eq!(ask(&place, &user(&json!([shown, text])), ""), named, "{shown}");
    }
    let both = json!([user(&json!([{ "type": "image", "image": "a.jpg" }, text])), user(&json!("a red circle"))]);
    let both = ask(&place, &both, "");
    assert_eq!(both["answers"][0], named);
    assert_eq!(
        both["answers"][1],
        ask(&place, &user(&json!("a red circle")), ""),
        "what stands beside it changes nothing"
    );
    let printed = place.ok("generate --model run --prompt hello --prompt red --max-new-tokens 4").stdout;
    assert!(printed.starts_with("1: ") && printed.contains("\n2: "), "{printed}");
}

#[test]
fn an_answer_ends_before_a_stop_string_and_says_what_it_took() {
    let place = place();
    let ask = "generate --model run --image a.jpg --prompt hello --max-new-tokens 12";
    let free = json_of(&place, &format!("{ask} --stats"));
    let text = free["text"].as_str().expect("a text").to_owned();
    let stats = &free["stats"];
    for key in [
        "prompt_tokens",
        "prefill_tokens_per_sec",
        "decode_tokens_per_sec",
        "weight_bytes",
        "kv_cache_bytes",
        "peak_bytes",
    ] {
        assert!(stats[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {stats}");
    }
    // One layer of one head of 8 values for keys and values, four bytes each.
    let tokens = stats["prompt_tokens"].as_u64().expect("a number") + free["tokens"].as_u64().expect("a number");
    assert_eq!(stats["kv_cache_bytes"].as_u64(), Some(tokens * 2 * 8 * 4));
    let stop = text.split_whitespace().last().filter(|word| word.is_ascii()).unwrap_or("e").to_owned();
    let cut = json_of(&place, &format!("{ask} --stop={stop}"));
    let expected = text.split(&stop).next().expect("a beginning").trim();
    assert_eq!(cut["text"].as_str(), Some(expected), "{text} up to {stop}");
    let text = place.ok(&format!("{ask} --stats")).stderr;
    assert!(text.contains("prefill ") && text.contains("decode ") && text.contains("weights "), "{text}");
}

#[test]
fn boxes_are_printed_and_drawn() {
    let place = place();
    let ask = "generate --model run --prompt hello --max-new-tokens 8";
    let said = json_of(&place, &format!("{ask} --image a.jpg --boxes --draw b.png"));
    assert!(said["boxes"].is_array() && said["malformed"].is_u64() && said["text"].is_string(), "{said}");
    assert!(place.read("b.png").starts_with(b"\x89PNG"));
    let printed = place.ok(&format!("{ask} --image a.jpg --boxes")).stdout;
    assert!(printed.contains("\"boxes\""), "{printed}");
    place.fails(&format!("{ask} --boxes"), 2, &["none is shown", "hint:"]);
    place.fails(&format!("{ask} --image a.jpg --draw /nowhere/b.png"), 3, &["`/nowhere` is no directory"]);
    place.fails(&format!("{ask} --image a.jpg --draw b.jpg"), 2, &["`--draw b.jpg`", "hint: a PNG is written"]);
    place.write("a.png", include_bytes!("../fixtures/media/resize/texture_64x64.png"));
    place.fails(&format!("{ask} --image a.png --draw ./a.png"), 2, &["what is shown would be lost"]);
    place.write("m.json", user(&json!([{ "type": "image", "image": "a.png" }])).to_string().as_bytes());
    fs_err::hard_link(place.path("a.png"), place.path("other.png")).expect("linked");
    place.fails("generate --model run --messages m.json --draw other.png", 2, &["what is shown would be lost"]);
    place.fails(&format!("{ask} --image nothing.png"), 3, &["`nothing.png`: No such file", "hint: a picture"]);
    place.fails(&format!("{ask} --stop="), 2, &["--stop"]);
}

#[test]
fn sampling_can_be_narrowed() {
    let place = place();
    let ask = "generate --model run --image a.jpg --prompt hello --max-new-tokens 12";
    let greedy = place.ok(ask).stdout;
    assert_eq!(place.ok(&format!("{ask} --temperature 5 --min-p 1")).stdout, greedy);
    assert_eq!(place.ok(&format!("{ask} --temperature 5 --top-k 1 --seed 3")).stdout, greedy);
    assert_ne!(place.ok(&format!("{ask} --repetition-penalty 9")).stdout, greedy);
    place.fails(&format!("{ask} --min-p 2"), 2, &["`min_p` is 2"]);
    place.fails(&format!("{ask} --repetition-penalty 0"), 2, &["`repetition_penalty` is 0"]);
}

#[test]
fn bad_messages_are_refused_with_their_place() {
    let place = place();
    let bad = |messages: &Value, code: i32, words: &[&str]| {
        place.write("m.json", messages.to_string().as_bytes());
        place.fails("generate --model run --messages m.json", code, words);
    };
    let shown = |place: &str| user(&json!([{ "type": "image", "image": place }, { "type": "text", "text": "a" }]));
    bad(&json!([{ "role": "robot", "content": "a" }]), 2, &["m.json", "messages[0].role", "`robot`", "hint: roles"]);
    bad(&user(&json!([{ "type": "smell" }])), 2, &["messages[0].content[0]", "`smell`", "hint: parts"]);
    bad(&shown("nothing.jpg"), 3, &["messages[0].content[0]", "nothing.jpg", "hint: a picture"]);
    bad(&shown("data:image/png;base64,AAAA"), 3, &["messages[0].content[0]"]);
    bad(&shown("https://127.0.0.1/a.png"), 2, &["is not read", "--allow-remote"]);
    let sized = user(&json!([{ "type": "image", "image": "a.jpg", "max_pixels": 9 }, { "type": "text", "text": "a" }]));
    bad(&sized, 2, &["one size", "hint: `min_pixels`"]);
    bad(&user(&json!([{ "type": "audio", "audio": "a.jpg" }])), 3, &["messages[0].content[0]"]);
    place.write("m.json", b"{");
    place.fails("generate --model run --messages m.json", 2, &["no JSON", "hint:"]);
    place.fails("generate --model run --messages other.json", 3, &["other.json", "hint:"]);
    place.fails("generate --model run --messages m.json --prompt x", 2, &["--prompt"]);
    #[cfg(feature = "fetch")]
    {
        place.write("m.json", shown("http://localhost:1/a.png").to_string().as_bytes());
        place.fails("generate --model run --messages m.json --allow-remote http://x/", 2, &["without `https://`"]);
        let words = ["localhost", "is no public address"];
        place.fails("generate --model run --messages m.json --allow-remote localhost", 3, &words);
    }
}

/// What a chat prints when it is told these lines.
fn chat(place: &Place, lines: &[&str], args: &str) -> (Vec<String>, String) {
    let (code, answers, stderr) = chat_of_bytes(place, (lines.join("\n") + "\n").as_bytes(), args);
    assert_eq!(code, Some(0), "{stderr}");
    (answers, stderr)
}

fn chat_of_bytes(place: &Place, lines: &[u8], args: &str) -> (Option<i32>, Vec<String>, String) {
    let args = format!("chat --model run --max-new-tokens 8 {args}");
    let mut command = place.command(&args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(lines).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("ends");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let answers = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.code(), answers.lines().map(str::to_owned).collect(), stderr)
}

#[test]
fn a_chat_goes_on_from_its_history() {
    let place = place();
    let lines = [
        "/image a.jpg",
        "what is this",
        "and now",
        "/stats",
        "/save talk.json",
        "/reset",
        "what is this",
        "/quit",
        "unheard",
    ];
    let (_, stderr) = chat(&place, &lines, "");
    let reused = stderr.split(" of them from the cache").next().and_then(|text| text.rsplit(' ').next());
    assert!(reused.and_then(|number| number.parse::<usize>().ok()).is_some_and(|reused| reused > 8), "{stderr}");
    let talk: Value = serde_json::from_slice(&place.read("talk.json")).expect("JSON");
    let turns = talk.as_array().expect("a list");
    assert_eq!(
        turns.iter().map(|turn| turn["role"].as_str().expect("a role")).collect::<Vec<_>>(),
        ["user", "assistant", "user", "assistant"]
    );
    assert_eq!(turns[0]["content"][0]["type"], "image");
    let anew = ask(&place, &json!(turns[..3]), "");
    assert_eq!(anew["text"], turns[3]["content"][0]["text"], "the cache changes nothing");
}

#[test]
fn what_goes_wrong_in_a_chat_does_not_end_it() {
    let place = place();
    let lines = b"/image nothing.jpg\n/image\n/dance\n/save /nowhere/x.json\n/save a.jpg\n\nab\xffc\nhello\n";
    let (code, answers, stderr) = chat_of_bytes(&place, lines, "--system brief");
    assert_eq!((code, answers.len()), (Some(3), 1), "a script that pipes its lines is told: {answers:?}");
    let said = [
        "nothing.jpg",
        "hint: a picture",
        "`/image` without a file",
        "no command `/dance`",
        "/nowhere/x.json",
        "`a.jpg` is there already",
    ];
    for words in said.into_iter().chain(["byte 3 of the line is no text"]) {
        assert!(stderr.contains(words), "no `{words}` in {stderr}");
    }
}

#[test]
fn an_answer_without_words_ends_no_chat() {
    let place = place();
    // Whatever it says first is what it is told to stop at.
    let said = json_of(&place, "generate --model run --prompt hello --max-new-tokens 8");
    let first = said["text"].as_str().and_then(|text| text.chars().next()).expect("some text").to_string();
    let (answers, stderr) = chat(&place, &["hello", "and now", "/save talk.json"], &format!("--stop={first}"));
    assert!(answers.len() >= 2 && !stderr.contains("error:"), "{answers:?} {stderr}");
    let talk: Value = serde_json::from_slice(&place.read("talk.json")).expect("JSON");
    assert_eq!(talk[1]["content"][0]["text"], "", "{talk}");
    assert_eq!(talk.as_array().map(Vec::len), Some(4));
    // The file can be gone on with.
    let mut more = talk.as_array().expect("a list").clone();
    more.push(json!({ "role": "user", "content": "and then" }));
    ask(&place, &Value::from(more), "");
}

#[test]
fn a_picture_stays_for_what_is_said_after_a_turn_that_failed() {
    let place = place();
    let too_long = "what ".repeat(20_000);
    let lines = format!("/image a.jpg\n{too_long}\nwhat is this\n/save talk.json\n");
    let (code, answers, stderr) = chat_of_bytes(&place, lines.as_bytes(), "");
    assert_eq!((code, answers.len()), (Some(2), 1), "{answers:?}");
    assert!(stderr.contains("error:") && stderr.contains("is shown with what is said next"), "{stderr}");
    let talk: Value = serde_json::from_slice(&place.read("talk.json")).expect("JSON");
    let kinds = talk[0]["content"].as_array().expect("parts").iter().map(|part| part["type"].as_str());
    assert_eq!(kinds.collect::<Vec<_>>(), [Some("image"), Some("text")]);
    assert_eq!(talk.as_array().map(Vec::len), Some(2));
}
