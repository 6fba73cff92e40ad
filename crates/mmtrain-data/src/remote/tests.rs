//! Addresses as users name them, on a server that does not always answer well.

use std::path::Path;

use super::*;
use crate::{OpenOptions, detect, open};

#[test]
fn what_is_shown_of_an_address_has_no_secrets() {
    for (address, expected) in [
        ("https://host/a.tar?X-Amz-Signature=1", "https://host/a.tar"),
        ("https://me:secret@host/a.tar", "https://host/a.tar"),
        ("https://host/a.tar?x=1::s3://b/c?d", "https://host/a.tar::s3://b/c?d"),
        ("/data/what?.tar", "/data/what?.tar"),
    ] {
        assert_eq!(shown(Path::new(address)), expected);
    }
    let settings = RemoteSettings { s3: vec![("AWS_SECRET_ACCESS_KEY".into(), "secret".into())], ..Default::default() };
    let remote = Remote::new(settings.clone()).expect("settings");
    let place = remote.place(Path::new("https://host/a?secret"));
    assert!(!format!("{settings:?} {remote:?} {place:?}").contains("\"secret"), "{place:?}");
    assert!(!format!("{place:?}").contains("?secret"), "{place:?}");
}

#[cfg(not(feature = "remote"))]
#[test]
fn a_build_without_remote_support_says_how_to_build_one_with_it() {
    for address in ["s3://bucket/shards/", "https://host/a-{0..3}.tar"] {
        let path = Path::new(address);
        let opened = open("set", path, crate::Format::WebDataset, &OpenOptions::default()).err();
        for error in [opened].into_iter().chain([detect(path).err().filter(|_| !address.contains('{'))]).flatten() {
            assert!(error.to_string().ends_with("this build reads no addresses"), "{error}");
            assert!(error.hint().expect("a hint").contains("--features remote"), "{error}");
        }
    }
}

#[cfg(feature = "remote")]
mod served {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::server::{Fault, Server};
    use super::*;
    use crate::fixtures::{Shards, jpeg};
    use crate::{DataError, Format, RawSample, Source};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
    }

    /// A client of the server's buckets that is told its keys and gives up soon.
    fn settings(server: &Server) -> RemoteSettings {
        let s3 = [
            ("AWS_ENDPOINT_URL", server.address.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "AKIA-secret"),
            ("AWS_SECRET_ACCESS_KEY", "very-secret"),
        ];
        RemoteSettings {
            s3: s3.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            deadline: Duration::from_secs(10),
            retries: 3,
            ..RemoteSettings::default()
        }
    }

    fn options(settings: RemoteSettings) -> OpenOptions {
        OpenOptions { remote: Remote::new(settings).expect("settings"), ..OpenOptions::default() }
    }

    fn opened(path: &Path, options: &OpenOptions) -> Result<Arc<dyn Source>, DataError> {
        open("set", path, detect(options.remote.place(path))?.format, options)
    }

    /// All samples of a source, and the reasons of those that are none.
    fn samples(source: &dyn Source) -> Vec<Result<RawSample, String>> {
        (0..source.len()).map(|index| source.get(index).map_err(|error| error.0.reason)).collect()
    }

    #[track_caller]
    fn check_same(name: &str, address: &str, options: &OpenOptions) {
        let local = opened(&fixture(name), &OpenOptions::default()).expect("on disk");
        let remote = opened(Path::new(address), options).unwrap_or_else(|error| panic!("{address}: {error}"));
        assert_eq!(samples(remote.as_ref()), samples(local.as_ref()), "{address}");
        assert!(samples(local.as_ref()).iter().any(Result::is_ok), "{name}");
    }

    #[test]
    fn remote_samples_of_a_bucket_are_those_on_disk() {
        let server = Server::start();
        server.put_all("bucket/sets", &fixture("data"));
        server.put_all("bucket/shards", &fixture("webdataset"));
        let options = options(settings(&server));
        let sets = [
            "clotho",
            "coco",
            "image_folder",
            "llava_cc3m",
            "llava_pretrain",
            "messages",
            "messages_parquet",
            "mmpr",
            "ms_swift",
            "rlaif_v",
            "saved_to_disk",
            "sharegpt4v",
            "vlfeedback",
            "wavcaps",
        ];
        for name in sets {
            check_same(&format!("data/{name}"), &format!("s3://bucket/sets/{name}"), &options);
        }
        check_same("webdataset", "s3://bucket/shards/", &options);
        assert!(server.seen().iter().all(|seen| seen.headers.contains_key("authorization")), "signed");
    }

    #[test]
    fn remote_samples_of_a_web_server_are_those_on_disk() {
        let server = Server::start();
        server.put_all("sets", &fixture("data"));
        server.put_all("shards", &fixture("webdataset"));
        let at = &server.address;
        let options = options(RemoteSettings::default());
        let shard = "python-webdataset-000000.tar";
        check_same(&format!("webdataset/{shard}"), &format!("{at}/shards/{shard}?token=1"), &options);
        check_same("data/ms_swift/train.jsonl", &format!("{at}/sets/ms_swift/train.jsonl"), &options);
        let parquet = "messages_parquet/train-00000-of-00001.parquet";
        check_same(&format!("data/{parquet}"), &format!("{at}/sets/{parquet}"), &options);

        let zipped = OpenOptions { media: vec!["images.zip".into()], ..options };
        check_same("data/llava_cc3m/chat.json", &format!("{at}/sets/llava_cc3m/chat.json"), &zipped);
        assert!(server.seen().iter().all(|seen| !seen.headers.contains_key("authorization")), "not signed");
    }

    /// A bucket with two shards of some 3 MB each.
    fn two_shards(server: &Server) {
        for shard in 0..2_u8 {
            let noise: Vec<Vec<u8>> = (0..6).map(|_| vec![shard; 500_000]).collect();
            let names: Vec<_> = (0..6).flat_map(|key| [format!("{key}.jpg"), format!("{key}.txt")]).collect();
            let contents = noise.iter().flat_map(|noise| [noise.as_slice(), b"a dog"]);
            let members: Vec<_> = names.iter().map(String::as_str).zip(contents).collect();
            let made = Shards::new().shard("a.tar", &members);
            server.put(&format!("bucket/t-train-{shard}.tar"), fs_err::read(made.path("a.tar")).expect("bytes"));
        }
    }

    #[test]
    fn remote_blocks_are_fetched_once_for_all_epochs_and_processes() {
        let server = Server::start();
        two_shards(&server);
        let dir = tempfile::tempdir().expect("a directory");
        let settings = RemoteSettings { cache: Some(dir.path().into()), cache_bytes: 64 << 20, ..settings(&server) };
        let read = |path: &str| {
            let source = opened(Path::new(path), &options(settings.clone())).expect("opened");
            for _ in 0..2 {
                assert!(samples(source.as_ref()).iter().all(Result::is_ok));
            }
            let ranges = server.seen().into_iter().filter_map(|seen| seen.headers.get("range").cloned());
            (source.fingerprint().to_owned(), ranges.collect::<Vec<_>>())
        };
        let (print, first) = read("s3://bucket/t-train-{0..1}.tar");
        assert_eq!(first.iter().filter(|range| *range == "bytes=0-0").count(), 2);
        assert!((4..=8).contains(&first.len()), "blocks are read ahead: {first:?}");
        let (again, second) = read("s3://bucket/t-train-{0..1}.tar");
        assert_eq!((again, second), (print, vec!["bytes=0-0".to_owned(); 2]));
        let kept: u64 = fs_err::read_dir(dir.path())
            .expect("read")
            .map(|e| e.expect("entry").metadata().expect("size").len())
            .sum();
        assert!((6_000_000..6_100_000).contains(&kept), "{kept}");
    }

    #[test]
    fn a_remote_cache_that_is_too_small_costs_requests_and_nothing_else() {
        let server = Server::start();
        two_shards(&server);
        let dir = tempfile::tempdir().expect("a directory");
        let settings = RemoteSettings { cache: Some(dir.path().into()), cache_bytes: 3 << 20, ..settings(&server) };
        let source = opened(Path::new("s3://bucket/t-train-{0..1}.tar"), &options(settings)).expect("opened");
        assert!(samples(source.as_ref()).iter().all(Result::is_ok));
        let kept: u64 = fs_err::read_dir(dir.path())
            .expect("read")
            .map(|e| e.expect("entry").metadata().expect("size").len())
            .sum();
        assert!(kept <= 3 << 20, "{kept}");
    }

    /// One shard of one sample at `bucket/a.tar`; how it is read where the first answers have these faults.
    fn with_faults(
        faults: impl IntoIterator<Item = Fault>,
        change: impl FnOnce(&mut RemoteSettings),
    ) -> (Arc<Server>, Result<usize, DataError>) {
        let server = Server::start();
        let image = jpeg(8, 8, 1);
        let made = Shards::new().shard("a.tar", &[("0.jpg", &image), ("0.txt", b"a dog")]);
        server.put("bucket/a.tar", fs_err::read(made.path("a.tar")).expect("bytes"));
        server.fail(faults);
        let mut settings = settings(&server);
        change(&mut settings);
        let source = open("set", Path::new("s3://bucket/a.tar"), Format::WebDataset, &options(settings));
        (server, source.map(|source| samples(source.as_ref()).iter().filter(|sample| sample.is_ok()).count()))
    }

    #[test]
    fn remote_faults_that_pass_are_passed_over() {
        let busy = Fault::Status(503, "SlowDown");
        for faults in [
            vec![busy.clone(), busy],
            vec![Fault::None, Fault::Cut(700), Fault::Cut(0)],
            vec![Fault::None, Fault::Short, Fault::Short],
            vec![Fault::Cut(0), Fault::Status(500, "InternalError"), Fault::Status(429, "")],
        ] {
            let (server, read) = with_faults(faults.clone(), |_| ());
            assert_eq!(read.unwrap_or_else(|error| panic!("{faults:?}: {error}")), 1, "{faults:?}");
            assert!(server.seen().len() > faults.iter().filter(|fault| !matches!(fault, Fault::None)).count());
        }
    }

    #[test]
    fn remote_faults_that_stay_are_named_without_secrets() {
        for (fault, expected) in [
            (Fault::Status(503, "SlowDown"), "503 Service Unavailable: SlowDown"),
            (Fault::Status(403, "AccessDenied"), "403 Forbidden: AccessDenied"),
            (Fault::Cut(0), "the answer breaks off behind 0 bytes"),
            (Fault::Short, "sends 0 bytes or more of a part of 1"),
            (Fault::Whole, "the server passes over ranges of bytes"),
        ] {
            let (_, read) = with_faults(vec![fault.clone(); 8], |settings| settings.retries = 1);
            let error = read.expect_err("an error");
            let text = format!("{error} {error:?} {:?}", error.hint());
            assert!(text.starts_with("`s3://bucket/a.tar`: ") && text.contains(expected), "{fault:?}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let (_, read) = with_faults([Fault::Status(404, "NoSuchKey")], |_| ());
        assert!(matches!(read, Err(DataError::NotFound { .. })));
    }

    #[test]
    fn a_remote_object_that_changes_while_it_is_read_is_told() {
        let server = Server::start();
        server.put("bucket/a", vec![7; 3_000_000]);
        let place = Remote::new(settings(&server)).expect("settings").place(Path::new("s3://bucket/a"));
        let file = place.open().expect("opened");
        assert_eq!(crate::reading::bytes_at(file.as_ref(), 10, 2).expect("read"), [7, 7]);
        server.put("bucket/a", vec![8; 3_000_000]);
        let error = crate::reading::bytes_at(file.as_ref(), 2_000_000, 10).expect_err("changed");
        let reject = crate::reading::unreadable(&place, 0, &error);
        assert_eq!(
            (reject.reason, reject.detail.as_str()),
            ("unreadable", "`s3://bucket/a`: has changed since it was opened")
        );
    }

    #[test]
    fn a_remote_server_that_is_too_slow_is_given_up_in_time() {
        let started = Instant::now();
        let (_, read) = with_faults(vec![Fault::Slow(Duration::from_secs(20)); 4], |settings| {
            settings.deadline = Duration::from_millis(300);
            settings.retries = 2;
        });
        let error = read.expect_err("an error").to_string();
        assert!(error.ends_with("does not answer in time"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }

    #[test]
    fn a_remote_redirect_is_followed_on_the_same_server_only() {
        let (server, other) = (Server::start(), Server::start());
        for server in [&server, &other] {
            server.put_all("sets", &fixture("data/ms_swift"));
        }
        let address = format!("{}/elsewhere.jsonl?token=secret", server.address);
        let read = |to: String| {
            server.fail(vec![Fault::Redirect(to); 1]);
            options(RemoteSettings::default()).remote.place(Path::new(&address)).open()
        };
        assert!(read("/sets/train.jsonl".into()).is_ok());
        assert!(read(format!("{}/sets/train.jsonl", server.address)).is_ok());
        let error = read(format!("{}/sets/train.jsonl?token=secret", other.address)).expect_err("refused").to_string();
        assert!(error.contains("redirects to another server, `127.0.0.1`") && !error.contains("secret"), "{error}");
        assert!(other.seen().is_empty());
        let around = Fault::Redirect("/elsewhere.jsonl".into());
        server.fail(vec![around; 9]);
        let error = read("/elsewhere.jsonl".into()).expect_err("refused").to_string();
        assert!(error.contains("more than 4 redirects"), "{error}");
    }

    #[test]
    fn a_remote_directory_of_a_web_server_has_to_be_named_by_its_files() {
        let server = Server::start();
        server.put_all("shards", &fixture("webdataset"));
        let options = options(RemoteSettings::default());
        let path = format!("{}/shards/", server.address);
        let error = opened(Path::new(&path), &options).err().expect("refused");
        assert!(error.to_string().contains("does not say what is in it"), "{error}");
        assert!(error.hint().expect("a hint").contains("{0000..0575}.tar"), "{error}");
        let nothing = opened(Path::new(&format!("{}/none.jsonl", server.address)), &options).err().expect("nothing");
        assert!(matches!(nothing, DataError::NotFound { .. }), "{nothing}");
        let with_password = server.address.replace("http://", "http://me:secret@") + "/shards/a.tar";
        let error = opened(Path::new(&with_password), &options).err().expect("refused").to_string();
        assert!(error.contains("has a name or a password in it") && !error.contains("secret"), "{error}");
    }
}
