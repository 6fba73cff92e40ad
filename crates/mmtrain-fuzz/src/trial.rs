//! One input after the other: no panic escapes, no second passes, memory stays.

use std::fmt;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Target, memory, panics};

/// How long reading one input may take, on processors: another process that keeps them busy is no fault of the input.
pub const MOST_TIME: Duration = Duration::from_secs(1);

/// After this the process ends: what loops forever cannot be taken back.
const GIVE_UP: Duration = Duration::from_secs(30);

/// How exact time on processors is.
const TICK: Duration = Duration::from_millis(10);

/// What a target did with inputs.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// How many inputs there were.
    pub tries: u64,
    /// The longest that one took.
    pub slowest: Duration,
    /// The most by which one let the process grow, in KiB.
    pub growth_kib: u64,
    /// Panics of libraries that the program confined.
    pub confined: usize,
    /// The last of them.
    pub last_confined: String,
    /// What must not be.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tries, slowest, growth_kib, confined, last_confined, findings } = self;
        write!(f, "{tries} inputs, slowest {slowest:?}, growth {growth_kib} KiB")?;
        if *confined > 0 {
            write!(f, ", {confined} panics of libraries confined (`{last_confined}`)")?;
        }
        findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

/// An input that does harm.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which one.
    pub input: String,
    /// What it does.
    pub harm: String,
    /// Where its bytes are.
    pub file: PathBuf,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (`{}`)", self.input, self.harm, self.file.display())
    }
}

/// Reads inputs with one target.
#[derive(Debug)]
pub struct Trial {
    target: Target,
    outcome: Outcome,
    now: Arc<Mutex<Option<Running>>>,
}

/// What is being read.
#[derive(Debug)]
struct Running {
    since: Instant,
    file: PathBuf,
    bytes: Vec<u8>,
}

impl Trial {
    /// Begins, with a thread that ends the process if an input is read forever.
    pub fn new(target: Target) -> Self {
        panics::take();
        let now = Arc::default();
        let watched = Arc::downgrade(&now);
        thread::spawn(move || watch(&watched));
        Self { target, outcome: Outcome::default(), now }
    }

    /// Reads one input.
    pub fn look_at(&mut self, input: &str, bytes: &[u8]) {
        self.outcome.tries += 1;
        let before = memory::resident_kib();
        memory::forget_peak();
        let took = self.read(input, bytes);
        let growth = memory::peak_kib().saturating_sub(before);
        self.outcome.slowest = self.outcome.slowest.max(took);
        self.outcome.growth_kib = self.outcome.growth_kib.max(growth);
        if took >= MOST_TIME {
            self.found(input, bytes, format!("takes {took:?}"));
        }
        if growth > self.target.most_mib << 10 {
            self.found(input, bytes, format!("takes {} MiB, {} are allowed", growth >> 10, self.target.most_mib));
        }
    }

    /// How long reading takes, waiting for a processor left out; panics are noted.
    fn read(&mut self, input: &str, bytes: &[u8]) -> Duration {
        let (since, cpu) = (Instant::now(), cpu_time());
        let running = Running { since, file: self.file(input), bytes: bytes.to_vec() };
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        let ended = panics::listening(|| catch_unwind(AssertUnwindSafe(|| (self.target.read)(bytes))));
        let took = since.elapsed().min(cpu_time().saturating_sub(cpu) + TICK);
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let panics::Panics { own, others, last } = panics::take();
        match (ended, own.first()) {
            (Err(_), _) => {
                let who = own.last().cloned().unwrap_or(last);
                self.found(input, bytes, format!("a panic escapes: {who}"));
            }
            (Ok(()), Some(own)) => self.found(input, bytes, format!("a panic of the program's own is confined: {own}")),
            (Ok(()), None) if others > 0 => {
                self.outcome.confined += others;
                self.outcome.last_confined = last;
            }
            (Ok(()), None) => {}
        }
        took
    }

    fn found(&mut self, input: &str, bytes: &[u8], harm: String) {
        let file = self.file(input);
        keep(&file, bytes);
        self.outcome.findings.push(Finding { input: input.to_owned(), harm, file });
    }

    /// Where an input that does harm is kept.
    fn file(&self, input: &str) -> PathBuf {
        let name = input.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        std::env::temp_dir().join("mmtrain-fuzz").join(self.target.name).join(name)
    }

    /// What became of all inputs.
    pub fn end(self) -> Outcome {
        self.outcome
    }
}

/// Time that all threads of the process have had on processors.
fn cpu_time() -> Duration {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything: user and system time are the twelfth and thirteenth field.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum::<u32>();
    TICK * ticks
}

/// Keeps an input; where that cannot be done the message has to do.
fn keep(file: &std::path::Path, bytes: &[u8]) {
    if let Some(dir) = file.parent() {
        drop(fs_err::create_dir_all(dir));
    }
    drop(fs_err::write(file, bytes));
}

/// Ends the process where an input is read for too long, as long as there is somebody who reads.
fn watch(now: &Weak<Mutex<Option<Running>>>) {
    while let Some(now) = now.upgrade() {
        if let Some(running) = now.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && running.since.elapsed() > GIVE_UP
        {
            keep(&running.file, &running.bytes);
            let said = format!("an input is read for more than {GIVE_UP:?}: `{}`\n", running.file.display());
            drop(std::io::stderr().write_all(said.as_bytes()));
            std::process::abort();
        }
        drop(now);
        thread::sleep(Duration::from_millis(500));
    }
}
