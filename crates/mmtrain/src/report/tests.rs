//! Both files, as they lie on disk.

use std::collections::BTreeMap;

use mmtrain_train::metrics::{EvalReport, StepReport};

use super::*;

fn step(step: u64, loss: f64) -> Metric {
    Metric::Train(StepReport {
        step,
        epoch: 0.0,
        loss,
        lr: BTreeMap::from([("connector".into(), 1e-3), ("decoder".into(), 5e-4)]),
        grad_norm: 1.0,
        supervised_tokens: 100,
        samples: 8,
        tokens_per_sec: 12_345.0,
        samples_per_sec: 88.0,
        data_wait: 0.03,
        step_secs: 0.5,
        mem_bytes: 1 << 30,
        padding: 0.0,
        skipped: 0,
        fitted: BTreeMap::new(),
        values: BTreeMap::new(),
    })
}

fn eval(step: u64, loss: f64) -> Metric {
    let values = BTreeMap::from([("loss".into(), loss), ("attribute_accuracy".into(), 0.875)]);
    Metric::Eval(EvalReport { step, name: "held_out".into(), values, skipped: 0 })
}

fn many() -> Vec<Metric> {
    let loss = |step: u32| 0.3 + 5.0 * (-f64::from(step) / 120.0).exp();
    let mut metrics: Vec<_> = (1..=500).map(|n| step(u64::from(n), loss(n) + 0.2 * f64::from(n % 3))).collect();
    metrics.extend([100, 300, 500].map(|n| eval(u64::from(n), loss(n))));
    metrics
}

fn png(metrics: &[Metric]) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("plots/loss.png");
    write_plot(&path, metrics).expect("plot is written");
    assert_eq!(fs::read_dir(path.parent().expect("parent")).expect("reads").count(), 1, "no temporary file is left");
    fs::read(path).expect("plot is there")
}

fn html(metrics: &[Metric], samples: &[ShownSample], text: &str) -> String {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("report.html");
    let ledger = [LedgerRow { part: text.into(), tuning: text.into(), parameters: 2_000_000, trained: 500_000 }];
    let summary = [(text.to_owned(), text.to_owned())];
    let (run_name, stage, config_toml) = (text, text, text);
    let lineage = [Ancestor {
        path: "checkpoints/<first>/step-00000010".into(),
        stage: Some("pretrain".into()),
        step: Some(10),
        hash: "00ff".into(),
    }];
    let input = ReportInput {
        run_name,
        stage,
        metrics,
        config_toml,
        ledger: &ledger,
        lineage: &lineage,
        samples,
        summary: &summary,
    };
    write_html(&path, &input).expect("page is written");
    fs::read_to_string(path).expect("page is there")
}

fn sample(text: &str) -> ShownSample {
    ShownSample {
        id: text.into(),
        medium: vec![0xff, 0xd8, 0xff],
        target: text.into(),
        generated: text.into(),
        correct: Some((5, 6)),
    }
}

#[test]
fn a_plot_is_a_png_of_the_stated_size() {
    let broken = [step(1, f64::NAN), step(2, f64::INFINITY), eval(2, f64::NAN), step(3, f64::MAX)];
    for metrics in [&[][..], &[step(1, 2.0)], &[eval(1, 2.0)], &broken, &many()] {
        let png = png(metrics);
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
        let picture = image::load_from_memory(&png).expect("plot decodes");
        assert_eq!((picture.width(), picture.height()), (1000, 600));
    }
}

#[test]
fn a_plot_shows_training_and_held_out_loss() {
    let blue = |pixel: &image::Rgb<u8>| pixel.0[2] > pixel.0[0].saturating_add(60);
    let red = |pixel: &image::Rgb<u8>| pixel.0[0] > pixel.0[2].saturating_add(60);
    let count = |metrics: &[Metric]| {
        let picture = image::load_from_memory(&png(metrics)).expect("plot decodes").to_rgb8();
        let curves = picture.enumerate_pixels().filter(|(_, y, _)| *y > 60).map(|(_, _, pixel)| pixel);
        curves.fold((0, 0), |(b, r), pixel| (b + u32::from(blue(pixel)), r + u32::from(red(pixel))))
    };
    assert_eq!(count(&[]), (0, 0));
    assert!(count(&[step(1, 2.0)]).0 > 20, "one step is a dot");
    let (blue, red) = count(&many());
    assert!(blue > 1500 && red > 300, "{blue} blue and {red} red pixels");
}

#[test]
fn markup_in_any_text_stays_text() {
    let attack = r#"</title></pre><script>alert("1")</script><img src=x onerror='alert(2)'>"#;
    let mut metrics = many();
    metrics.push(Metric::Eval(EvalReport {
        step: 500,
        name: attack.into(),
        values: BTreeMap::from([("loss".into(), 1.0)]),
        skipped: 0,
    }));
    let page = html(&metrics, &[sample(attack)], attack);
    assert!(!page.contains("<script") && !page.contains("<img src=x"));
    assert_eq!(page.matches("</title></pre>").count(), 0);
    assert!(page.matches("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;").count() >= 10);
}

#[test]
fn a_page_asks_for_nothing_from_outside() {
    let page = html(&many(), &[sample("a red cube")], "run");
    for outside in ["http://", "https://", "@import", "url(", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn a_page_shows_curves_ledger_samples_and_configuration() {
    let page =
        html(&many(), &[sample("a red cube"), ShownSample { generated: String::new(), ..sample("a ball") }], "run");
    for shown in [
        "<b>Held-out accuracy</b>",
        "held out attribute accuracy <b>87.5 %</b>",
        "<td>2,000,000</td><td>500,000</td><td>25.0 %</td>",
        "src=\"data:image/jpeg;base64,/9j/\"",
        "<p dir=\"auto\">a red cube</p>",
        "<p dir=\"auto\"><em>nothing</em></p>",
        "10 of 12 right in these 2 samples (83.3 %)",
        "<pre>run</pre>",
    ] {
        assert!(page.contains(shown), "{shown}\n{page}");
    }
}

#[test]
fn a_page_stands_without_metrics_and_samples() {
    let page = html(&[], &[], "run");
    assert_eq!(page.matches("nothing recorded").count(), 4);
    assert!(!page.contains("Held-out accuracy") && !page.contains("Held-out samples"));
    assert!(!page.contains("NaN") && page.ends_with("</html>\n"));
}

#[test]
fn the_same_run_gives_the_same_files() {
    assert!(png(&many()) == png(&many()));
    assert_eq!(html(&many(), &[sample("x")], "run"), html(&many(), &[sample("x")], "run"));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().expect("temp dir");
    fs::write(dir.path().join("plots"), "a file").expect("writes");
    let error = write_plot(&dir.path().join("plots/loss.png"), &[]).expect_err("a file is in the way");
    let source = std::error::Error::source(&error).expect("an input or output error");
    assert!(source.to_string().contains("plots"), "{source}");
}
