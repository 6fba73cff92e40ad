//! Listening, connections, and the end of both.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::body::Budget;
use crate::engine::{Engine, Prepare};
use crate::gate::{check_key, check_origin};
use crate::metrics::Metrics;
use crate::patient::Patient;
use crate::refusal::Refusal;
use crate::routes::{App, Ids, Payload, answer, refused, text};
use crate::settings::{Limits, Settings, SettingsError};
use crate::worker::{Submission, work};

/// How often it is looked whether the server should end.
const LOOK: Duration = Duration::from_millis(50);

/// Bytes of a request's headers.
const HEADER_BYTES: usize = 32 << 10;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Settings that mean nothing.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// An address that cannot be listened at.
    #[error("cannot listen at `{address}`")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No threads, or no sockets.
    #[error("cannot serve")]
    Io(#[from] io::Error),
    /// The thread of the connections has panicked.
    #[error("the thread of the connections has ended")]
    Panicked,
}

impl ServeError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Settings(error) => Some(error.hint()),
            Self::Listen { .. } => {
                Some("choose another one with `--address`; port 0 takes any that is free".to_owned())
            }
            Self::Io(_) | Self::Panicked => None,
        }
    }
}

/// A server that has its addresses and does not answer yet.
#[derive(Debug)]
pub struct Bound {
    settings: Settings,
    api: StdListener,
    metrics: Option<StdListener>,
}

impl Bound {
    /// Checks the settings and takes the addresses.
    pub fn new(settings: Settings) -> Result<Self, ServeError> {
        settings.check()?;
        let api = listen(settings.address)?;
        let metrics = settings.metrics.map(listen).transpose()?;
        Ok(Self { settings, api, metrics })
    }

    /// Where the API and the page are.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.api.local_addr()
    }

    /// Where the metrics are.
    pub fn metrics_address(&self) -> Option<io::Result<SocketAddr>> {
        self.metrics.as_ref().map(StdListener::local_addr)
    }
}

fn listen(address: SocketAddr) -> Result<StdListener, ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = StdListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Serves until `stop` says so and the answers that are on their way are given. The model works on this thread.
pub fn serve<P: Prepare, E: Engine<Prompt = P::Prompt>>(
    bound: Bound,
    prepare: P,
    engine: &mut E,
    stop: impl Fn() -> bool + Send + 'static,
) -> Result<(), ServeError> {
    let metrics = Arc::new(Metrics::default());
    let limits = bound.settings.limits;
    let (sender, queue) = mpsc::channel(limits.requests().min(Semaphore::MAX_PERMITS));
    let counted = metrics.clone();
    let http = std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || on_runtime(bound, prepare, sender, counted, stop))?;
    work(engine, queue, limits.batch, &metrics);
    http.join().map_err(|_| ServeError::Panicked)?
}

/// One thread for all connections, and some that make requests ready.
fn on_runtime<P: Prepare>(
    bound: Bound,
    prepare: P,
    queue: mpsc::Sender<Submission<P::Prompt>>,
    metrics: Arc<Metrics>,
    stop: impl Fn() -> bool,
) -> Result<(), ServeError> {
    let limits = bound.settings.limits;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(limits.preparing).build()?;
    let app = App {
        prepare: Arc::new(prepare),
        queue,
        slots: Arc::new(Semaphore::new(limits.requests().min(Semaphore::MAX_PERMITS))),
        budget: Budget::new(&limits),
        metrics,
        ids: Ids::new(),
        started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        settings: Arc::new(bound.settings),
    };
    let ended = runtime.block_on(run(Arc::new(app), bound.api, bound.metrics, stop));
    // What still decodes a medium is not waited for.
    runtime.shutdown_background();
    ended
}

async fn run<P: Prepare>(
    app: Arc<App<P>>,
    api: StdListener,
    metrics: Option<StdListener>,
    stop: impl Fn() -> bool,
) -> Result<(), ServeError> {
    let (ending, ends) = watch::channel(false);
    let limits = app.settings.limits;
    let mut tasks = JoinSet::new();
    let counted = app.metrics.clone();
    let answering = app.clone();
    let service = move |request| answer(answering.clone(), request);
    tasks.spawn(accept(TcpListener::from_std(api)?, limits, counted.clone(), ends.clone(), service));
    if let Some(listener) = metrics {
        let (settings, shown) = (app.settings.clone(), counted.clone());
        let service = move |request| {
            let answer = scraped(&settings, &shown, &request);
            std::future::ready(Ok(answer.unwrap_or_else(|refusal| refused(&refusal.closing()))))
        };
        // Not counted among the connections: whoever reads the metrics should see them while all others are taken.
        let few = Limits { connections: 8, ..limits };
        tasks.spawn(accept(TcpListener::from_std(listener)?, few, Arc::default(), ends, service));
    }
    drop(app);
    let mut look = interval(LOOK);
    while !stop() {
        look.tick().await;
    }
    let _ = ending.send(true);
    let all = async { while tasks.join_next().await.is_some() {} };
    if timeout(limits.drain_time, all).await.is_err() {
        tracing::warn!("answers that were not ready in time are cut off");
        tasks.shutdown().await;
    }
    Ok(())
}

/// Takes connections until the end, then waits for theirs.
async fn accept<S, F>(
    listener: TcpListener,
    limits: Limits,
    metrics: Arc<Metrics>,
    mut ends: watch::Receiver<bool>,
    service: S,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Payload>, std::convert::Infallible>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = told(&mut ends) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // No more files may be open: some will be closed.
            sleep(LOOK).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            metrics.turned_away();
            turn_away(&stream);
            continue;
        };
        let (service, ends, metrics) = (service.clone(), ends.clone(), metrics.clone());
        connections.spawn(async move {
            let _counted = metrics.connected();
            connection(stream, limits, ends, service).await;
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One connection, with the requests that come over it one after the other.
async fn connection<S, F>(stream: TcpStream, limits: Limits, mut ends: watch::Receiver<bool>, service: S)
where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Payload>, std::convert::Infallible>>,
{
    // Pieces of an answer are small and should not wait for each other.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Patient::new(stream, limits.stall_time));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(io, service_fn(service));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut ends) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

/// Waits until the server is to end.
async fn told(ends: &mut watch::Receiver<bool>) {
    drop(ends.wait_for(|ended| *ended).await);
}

/// Says that all connections are taken, if that can be said at once.
fn turn_away(stream: &TcpStream) {
    const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
        Content-Type: application/json\r\nContent-Length: 118\r\n\r\n\
        {\"error\":{\"message\":\"too many connections are open\",\"type\":\"server_error\",\"param\":null,\"code\":\"too_many_connections\"}}";
    let _ = stream.try_write(BUSY);
}

/// `GET /metrics`, at an address of its own.
fn scraped(settings: &Settings, metrics: &Metrics, request: &Request<Incoming>) -> Result<Response<Payload>, Refusal> {
    check_origin(request, settings)?;
    check_key(request.headers(), settings.key.as_ref())?;
    match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET) => Ok(text(metrics.text(), "text/plain; version=0.0.4; charset=utf-8")),
        ("/metrics", _) => Err(Refusal::method("GET")),
        (path, _) => Err(Refusal::no_route(path)),
    }
}
