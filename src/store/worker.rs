//! The threads of the store: one that writes, many operations in one transaction; one that reads beside it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::backend::{Backend, Outcome};
use super::model::StoreError;

/// How many operations wait for the writer or the reader at most; callers wait when it is full.
const QUEUE: usize = 1024;

/// How many operations travel in one transaction at most.
const BATCH: usize = 512;

/// What is told to the caller when the transaction has ended: an error, if it failed.
type Answer = Box<dyn FnOnce(Option<StoreError>) + Send>;

/// One operation, on a backend or, where there is none to run it on, on the reason. Returns why it failed, if it did: then
/// nothing of it is to be kept.
type Job = Box<dyn FnOnce(Outcome<&mut dyn Backend>) -> (Outcome<()>, Answer) + Send>;

/// What the writer has done so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Transactions.
    pub transactions: AtomicU64,
    /// Operations in them.
    pub operations: AtomicU64,
}

/// A thread with a backend of its own. Cheap to clone; ends with the last clone.
#[derive(Clone)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    /// Starts a thread that runs operations in transactions.
    pub fn writer(backend: Box<dyn Backend>, counters: Arc<Counters>) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let thread =
            std::thread::Builder::new().name("store".to_owned()).spawn(move || write(backend, receiver, &counters))?;
        Ok((Self { jobs }, thread))
    }

    /// Starts a thread that runs operations as they come.
    pub fn reader(backend: Box<dyn Backend>) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let thread =
            std::thread::Builder::new().name("store-read".to_owned()).spawn(move || read(backend, receiver))?;
        Ok((Self { jobs }, thread))
    }

    /// Runs an operation and waits for the end of its transaction.
    ///
    /// # Errors
    /// What the operation or the commit says; [`StoreError::Closed`] after the end.
    pub async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut dyn Backend) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |backend| {
            let result = backend.and_then(|backend| {
                std::panic::catch_unwind(AssertUnwindSafe(|| operation(backend)))
                    .unwrap_or_else(|_| Err(StoreError::Database("the operation panicked; this is a bug".to_owned())))
            });
            let kept = result.as_ref().map(|_| ()).map_err(Clone::clone);
            let answer: Answer = Box::new(move |failed| {
                let _ = sender.send(match failed {
                    Some(error) => result.and(Err(error)),
                    None => result,
                });
            });
            (kept, answer)
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }
}

fn write(mut backend: Box<dyn Backend>, mut jobs: mpsc::Receiver<Job>, counters: &Counters) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut answers: Vec<Answer> = Vec::with_capacity(BATCH);
    while jobs.blocking_recv_many(&mut batch, BATCH) > 0 {
        counters.transactions.fetch_add(1, Ordering::Relaxed);
        counters.operations.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let mut failed = backend.begin().err();
        for job in batch.drain(..) {
            // Outside a transaction a savepoint would be one of its own, and would write what is reported as failed.
            let (result, answer) = match &failed {
                Some(error) => job(Err(error.clone())),
                None => operate(&mut *backend, job),
            };
            failed = failed.or(result.err());
            answers.push(answer);
        }
        if failed.is_none() {
            failed = backend.commit_transaction().err();
        }
        if let Some(error) = &failed {
            error!(%error, "a transaction of the store failed");
            backend.rollback();
        }
        for answer in answers.drain(..) {
            answer(failed.clone());
        }
    }
}

/// Runs one operation in a savepoint. Returns an error where the whole transaction is lost: some failures (disk full, for
/// one) make the engine roll back all of it, and then the savepoint is gone.
fn operate(backend: &mut dyn Backend, job: Job) -> (Outcome<()>, Answer) {
    if let Err(error) = backend.savepoint() {
        let (_, answer) = job(Err(error.clone()));
        return (Err(error), answer);
    }
    let (result, answer) = job(Ok(&mut *backend));
    let released = backend.release(result.is_ok());
    // The operation knows the cause; the lost savepoint is only a consequence.
    (released.map_err(|lost| result.err().unwrap_or(lost)), answer)
}

fn read(mut backend: Box<dyn Backend>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        let (_, answer) = job(Ok(&mut *backend));
        answer(None);
    }
}
