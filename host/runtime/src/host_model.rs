//! `host-model`: a guest asks a model that the host has bound. The guest is suspended meanwhile, and what many guests ask
//! is answered as one batch.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::Message;
use crate::generated::rewarden::plugin::types::Fault as GuestFault;
use crate::host_call::{bounded, bytes_of, not_granted, unavailable};
use crate::instance::State;

/// Conversations given to a model at a time.
const BATCH_MAX: usize = 256;

/// How long the first question of a batch waits for others. Far below what any model takes to answer.
const GATHER: Duration = Duration::from_millis(1);

type Conversation = Vec<Message>;
type Answers<T> = Result<Vec<T>, String>;
type Ask<K, T> = Box<dyn Fn(&[Conversation], K) -> Answers<T> + Send + Sync>;

/// A model that guests may ask, by the name it is bound to in [`Services`](crate::Services).
///
/// Made of a function that gets many conversations and answers each with a number (or a text), in order. It is called on
/// a thread of its own, one batch at a time, with at most 256 conversations gathered from all guests that wait; it may
/// take its time. An error's text reaches the guests as `unavailable`. A clone is a counter; `Send + Sync`.
#[derive(Clone)]
pub struct Model {
    score: Arc<Batcher<(), f64>>,
    generate: Arc<Batcher<u32, String>>,
}

impl Model {
    /// A model that gives each conversation a number.
    pub fn scoring(score: impl Fn(&[Vec<Message>]) -> Result<Vec<f64>, String> + Send + Sync + 'static) -> Model {
        Model {
            score: Batcher::new(Box::new(move |conversations, ()| finite(score(conversations)?))),
            generate: Batcher::new(Box::new(|_, _| Err("this model scores and does not generate".into()))),
        }
    }

    /// The same model, which also continues each conversation by at most so many tokens.
    pub fn generating(
        self,
        generate: impl Fn(&[Vec<Message>], u32) -> Result<Vec<String>, String> + Send + Sync + 'static,
    ) -> Model {
        Model { generate: Batcher::new(Box::new(generate)), ..self }
    }
}

fn finite(numbers: Vec<f64>) -> Answers<f64> {
    match numbers.iter().find(|number| !number.is_finite()) {
        Some(number) => Err(format!("the model answered {number}")),
        None => Ok(numbers),
    }
}

/// What guests ask, waiting to be answered together: `K` is what must be equal within a batch.
struct Batcher<K, T> {
    model: Ask<K, T>,
    queue: Mutex<Queue<K, T>>,
}

struct Queue<K, T> {
    waiting: Vec<Question<K, T>>,
    /// A thread is answering, and will look at the queue again.
    answered: bool,
}

struct Question<K, T> {
    key: K,
    conversations: Vec<Conversation>,
    answer: oneshot::Sender<Answers<T>>,
}

impl<K: Copy + PartialEq + Send + 'static, T: Send + 'static> Batcher<K, T> {
    fn new(model: Ask<K, T>) -> Arc<Batcher<K, T>> {
        let queue = Mutex::new(Queue { waiting: Vec::new(), answered: false });
        Arc::new(Batcher { model, queue })
    }

    /// The answers to these conversations. Whoever asks while nobody answers starts the thread that does.
    async fn ask(self: &Arc<Self>, key: K, conversations: Vec<Conversation>) -> Answers<T> {
        let (answer, answered) = oneshot::channel();
        let start = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.push(Question { key, conversations, answer });
            !std::mem::replace(&mut queue.answered, true)
        };
        if start {
            let batcher = self.clone();
            tokio::task::spawn_blocking(move || batcher.answer());
        }
        answered.await.unwrap_or_else(|_| Err("the model stopped".into()))
    }

    fn answer(&self) {
        // Dropped in every way out, a panic of the model included, so that the next question starts a new thread.
        let _done = Done(self);
        thread::sleep(GATHER);
        loop {
            let batch = self.next_batch();
            let Some(key) = batch.first().map(|question| question.key) else { return };
            let conversations: Vec<Conversation> =
                batch.iter().flat_map(|question| question.conversations.iter().cloned()).collect();
            let answers = (self.model)(&conversations, key).and_then(|answers| match answers.len() {
                length if length == conversations.len() => Ok(answers),
                length => Err(format!("the model gave {length} answers to {} conversations", conversations.len())),
            });
            match answers {
                Ok(answers) => {
                    let mut answers = answers.into_iter();
                    for question in batch {
                        let own = answers.by_ref().take(question.conversations.len()).collect();
                        // Who no longer waits was timed out.
                        let _ = question.answer.send(Ok(own));
                    }
                }
                Err(reason) => batch.into_iter().for_each(|question| drop(question.answer.send(Err(reason.clone())))),
            }
        }
    }

    /// The next questions of one key that fit into a batch, or none, and then this thread is done.
    fn next_batch(&self) -> Vec<Question<K, T>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.retain(|question| !question.answer.is_closed());
        let Some(key) = queue.waiting.first().map(|question| question.key) else {
            queue.answered = false;
            return Vec::new();
        };
        let (mut batch, mut size) = (Vec::new(), 0);
        let mut index = 0;
        while index < queue.waiting.len() {
            let question = &queue.waiting[index];
            let fits = size == 0 || size + question.conversations.len() <= BATCH_MAX;
            if question.key == key && fits {
                size += question.conversations.len();
                batch.push(queue.waiting.remove(index));
            } else {
                index += 1;
            }
        }
        batch
    }
}

struct Done<'a, K, T>(&'a Batcher<K, T>);

impl<K, T> Drop for Done<'_, K, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
            // Their senders go, and those who wait hear that the model stopped.
            queue.waiting.clear();
            queue.answered = false;
        }
    }
}

/// Links the interface, or one that answers `unavailable` and says which line grants it.
pub(crate) fn link(linker: &mut Linker<State>, granted: bool) -> wasmtime::Result<()> {
    let mut interface = linker.instance("rewarden:plugin/host-model@0.1.0")?;
    interface.func_wrap_async("score", move |store, (binding, conversations): (String, Vec<Conversation>)| {
        Box::new(async move {
            let bytes = bytes(&conversations);
            let ask = async move |model: Model| model.score.ask((), conversations).await;
            Ok((asked(store, granted, &binding, bytes, ask).await,))
        })
    })?;
    interface.func_wrap_async(
        "generate",
        move |store, (binding, conversations, max_tokens): (String, Vec<Conversation>, u32)| {
            Box::new(async move {
                let bytes = bytes(&conversations);
                let ask = async move |model: Model| model.generate.ask(max_tokens, conversations).await;
                Ok((asked(store, granted, &binding, bytes, ask).await,))
            })
        },
    )
}

fn bytes(conversations: &[Conversation]) -> usize {
    conversations.iter().map(|conversation| bytes_of(conversation)).sum()
}

/// Asks the model of this name, within the guest's allowance.
async fn asked<T>(
    mut store: StoreContextMut<'_, State>,
    granted: bool,
    binding: &str,
    bytes: usize,
    ask: impl AsyncFnOnce(Model) -> Answers<T>,
) -> Result<Vec<T>, GuestFault> {
    if !granted {
        return not_granted("host-model");
    }
    let answer = bounded(&mut store, "host-model", bytes, async |store| {
        let model = find(store.data(), binding)?;
        ask(model).await.or_else(|reason| unavailable(format!("host-model: {binding}: {reason}")))
    });
    answer.await
}

fn find(state: &State, binding: &str) -> Result<Model, GuestFault> {
    let models = &state.calls.services.models;
    models.get(binding).cloned().map_or_else(
        || {
            let bound: Vec<&str> = models.keys().map(String::as_str).collect();
            let bound = if bound.is_empty() { "none".to_owned() } else { bound.join(", ") };
            unavailable(format!("host-model: no model is bound as {binding:?} (bound: {bound})"))
        },
        Ok,
    )
}
