//! Commands as rows: what a domain offers to clients, whatever the transport.
//!
//! Guarantees: parsing and validation come before the authorisation, that before any effect; the
//! input is parsed once, and a row says all that the gate needs to know.
//! It is not the gate: nothing here judges or runs.

mod absent;

use std::{any::Any, fmt, sync::Arc};

use futures_util::{TryFutureExt, future::BoxFuture};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use smol_str::SmolStr;
use validator::Validate;

pub use crate::refusal::check;
use crate::{
    Action, Channel, Code, Error, Principal, Result, contract::Shape, json, principal::Membership,
    projection::Snapshot, refusal,
};

/// The HTTP method of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads; the input comes from path and query.
    Get,
    /// The input comes from path and body.
    Post,
    /// The input comes from path and body.
    Patch,
    /// The input comes from path and query.
    Delete,
}

/// What the caller needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// To be logged in; the call itself shows only what the caller may see.
    Login,
    /// To administrate.
    Admin,
    /// An action on a channel: by grant, ownership of the channel or membership in its project.
    On(Action, Channel),
    /// An action on one channel and another on a second.
    Both(Box<Need>, Box<Need>),
    /// To be an owner of this project, or to administrate.
    ProjectOwner(SmolStr),
}

/// How an answer leaves over HTTP.
#[derive(Debug, Clone)]
pub enum Answer {
    /// JSON. Over Socket.IO: `data` of the acknowledgement.
    Json(Box<RawValue>),
    /// Plain text in UTF-8. Over Socket.IO: a JSON string.
    Text(String),
    /// The command ran before, all went well, and what it answered is not kept: [`Repeated`].
    Repeated,
}

/// What a repeat of a command is told whose answer is not kept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Repeated {
    /// That the command with this `commandId` ran before and all went well. Its answer is not kept.
    #[schemars(extend("const" = true))]
    repeated: bool,
}

impl Repeated {
    /// As it is told.
    pub const TOLD: Self = Self { repeated: true };
}

impl Answer {
    /// A JSON answer.
    ///
    /// # Panics
    /// If the value's `Serialize` fails, which answers of the house never do.
    #[must_use]
    pub fn json(value: &impl Serialize) -> Self {
        Self::Json(serde_json::value::to_raw_value(value).expect("answers serialise"))
    }
}

/// What a call gives: the answer, and what documents it.
pub trait Reply: Send + 'static {
    /// The schema of the JSON; none for plain text.
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;

    /// The answer.
    fn into_answer(self) -> Answer;
}

/// A value as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize + JsonSchema + Send + 'static> Reply for Json<T> {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(T::json_schema(generator))
    }
    fn into_answer(self) -> Answer {
        Answer::json(&self.0)
    }
}

impl<T: JsonSchema + 'static> Reply for Snapshot<T> {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    fn into_answer(self) -> Answer {
        Answer::Json(self.into_json())
    }
}

/// Plain text.
impl Reply for String {
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
    fn into_answer(self) -> Answer {
        Answer::Text(self)
    }
}

/// The answer made of what a call gives, as a row of commands wants it.
pub fn answer_with<T, R>(
    call: impl Future<Output = Result<T>> + Send + 'static,
    make: impl FnOnce(T) -> R + Send + 'static,
) -> BoxFuture<'static, Result<R>> {
    Box::pin(async move { call.await.map(make) })
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// After authentication and authorisation.
    pub principal: Principal,
    /// What the judgement of lists and filters asks: see [`Visibility`].
    pub visibility: Arc<dyn Visibility>,
}

/// Whether the caller may see a channel's thing: the same judgement as the gate's, for lists.
pub trait Visibility: Send + Sync + fmt::Debug {
    /// Whether `principal` may do this to a thing of this owner and project in this channel.
    fn allows(
        &self,
        principal: &Principal,
        action: Action,
        channel: &Channel,
        owner: Option<&crate::UserId>,
        project: Option<&str>,
    ) -> bool;

    /// What `principal` is in a project; none for whoever is no member.
    fn membership(&self, principal: &Principal, project: &str) -> Option<Membership>;
}

/// A parsed input whose type only its row knows.
pub struct Input(Box<dyn Any + Send + Sync>);

impl Input {
    fn get<I: 'static>(&self) -> Result<&I> {
        self.0.downcast_ref().ok_or_else(Error::internal)
    }

    fn take<I: 'static>(self) -> Result<I> {
        self.0.downcast().map(|input| *input).map_err(|_| Error::internal())
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Input")
    }
}

type ParseJson = Arc<dyn Fn(&str) -> Result<Input> + Send + Sync>;
type ParsePairs = Arc<dyn Fn(&[(String, String)]) -> Result<Input> + Send + Sync>;
type Needs = Arc<dyn Fn(&Input) -> Result<Need> + Send + Sync>;
type Call = Arc<dyn Fn(Caller, Input) -> BoxFuture<'static, Result<Answer>> + Send + Sync>;

/// The field of an input that says how long the end of what a command begins is waited for, in milliseconds. A wait is
/// no part of what is asked: a repeat of a command with another one is the same command.
pub const WAIT_MS: &str = "waitMs";

/// The field of an answer with the end that was waited for.
pub const END: &str = "end";

/// A command of a domain: one row.
#[derive(Clone)]
pub struct Command {
    /// Its name on Socket.IO, such as `session.start`.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// Its REST method.
    pub method: Method,
    /// Its REST path with `{field}` for fields of the input, such as `/api/sessions/{sessionId}`.
    pub path: &'static str,
    /// Whether it changes nothing: it runs again for each repeat of its `commandId`.
    pub reads: bool,
    /// The HTTP status of success.
    pub status: u16,
    /// Whether its input has [`WAIT_MS`], and its answer the [`END`] if that came in time: then the status is 200.
    pub waits: bool,
    /// The schema of its input.
    pub input: Shape,
    /// The schema of its answer; none for plain text.
    pub answer: fn(&mut SchemaGenerator) -> Option<Schema>,
    parse_json: ParseJson,
    parse_pairs: ParsePairs,
    needs: Needs,
    call: Call,
}

impl Command {
    /// A row: its name, REST route and document, what it needs and what it calls.
    /// `needs` sees the parsed input; `call` is made only after the gate allowed it.
    pub fn new<I, N, C, O, R>(
        name: &'static str,
        (method, path): (Method, &'static str),
        doc: &'static str,
        needs: N,
        call: C,
    ) -> Self
    where
        I: DeserializeOwned + Validate + JsonSchema + Send + Sync + 'static,
        N: Fn(&I) -> Need + Send + Sync + 'static,
        C: Fn(Caller, I) -> O + Send + Sync + 'static,
        O: Future<Output = Result<R>> + Send + 'static,
        R: Reply,
    {
        Self {
            name,
            doc,
            method,
            path,
            reads: matches!(method, Method::Get),
            status: 200,
            waits: false,
            input: I::json_schema,
            answer: R::schema,
            parse_json: Arc::new(|text| {
                let input: I = json::from_str(text).map_err(|error| refusal::unread::<I>("", text, &error))?;
                checked(input)
            }),
            parse_pairs: Arc::new(|pairs| {
                let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                let input: I = serde_urlencoded::from_str(&encoded)
                    .map_err(|error| Error::new(Code::InvalidData, format!("the query is not valid: {error}")))?;
                checked(input)
            }),
            needs: Arc::new(move |input| Ok(needs(input.get()?))),
            call: Arc::new(move |caller, input| match input.take() {
                Ok(input) => Box::pin(call(caller, input).map_ok(Reply::into_answer)),
                Err(error) => Box::pin(std::future::ready(Err(error))),
            }),
        }
    }

    /// The same row with another HTTP status of success.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same row, of a command that changes nothing though its input comes in a body. Those of `GET` are so by
    /// themselves.
    #[must_use]
    pub fn that_reads(mut self) -> Self {
        self.reads = true;
        self
    }

    /// The same row, of a command that can be waited for: see [`Command::waits`].
    #[must_use]
    pub fn that_waits(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Parses and validates an input that came as a JSON object.
    ///
    /// # Errors
    /// `invalid_data` with the fields, `bad_request` for what is no JSON object.
    pub fn parse_json(&self, text: &str) -> Result<Input> {
        if !text.trim_start().starts_with('{') {
            return Err(Error::bad_request(format!("{} takes one object", self.name)));
        }
        (self.parse_json)(text)
    }

    /// An input as it is compared with another: a field that is null and may be left out is as good as not there, and
    /// for how long something is waited makes no difference.
    #[must_use]
    pub fn comparable(&self, mut input: serde_json::Value) -> serde_json::Value {
        absent::take_out(&mut input, self.input);
        if let (true, Some(fields)) = (self.waits, input.as_object_mut()) {
            fields.remove(WAIT_MS);
        }
        input
    }

    /// Parses and validates an input that came as names and values of path and query.
    ///
    /// # Errors
    /// `invalid_data` with the fields.
    pub fn parse_pairs(&self, pairs: &[(String, String)]) -> Result<Input> {
        (self.parse_pairs)(pairs)
    }

    /// What the caller needs for this input.
    ///
    /// # Errors
    /// `internal` for an input of another row.
    pub fn needs(&self, input: &Input) -> Result<Need> {
        (self.needs)(input)
    }

    /// The call. Whoever makes it has authorised it.
    pub fn call(&self, caller: Caller, input: Input) -> BoxFuture<'static, Result<Answer>> {
        (self.call)(caller, input)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.name)
    }
}

fn checked<I: Validate + Send + Sync + 'static>(input: I) -> Result<Input> {
    check(&input)?;
    Ok(Input(Box::new(input)))
}

/// Calls commands of other domains, through the gate, as a principal.
pub trait Calls: Send + Sync {
    /// Runs a command with a JSON object as its input.
    ///
    /// # Errors
    /// What the gate or the command answers.
    fn call(&self, principal: Principal, name: &str, input: Box<RawValue>) -> BoxFuture<'_, Result<Answer>>;
}
