//! Reads the usage that an answer reports, while it is forwarded.

use enact_domain::usage::Tokens;

use crate::memory::Buffer;
use crate::wire::format::Format;
use crate::wire::reported::Usage;
use crate::wire::sse::Events;

/// Largest answer without a stream whose usage is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Longest line of a stream that is read, in bytes. The last event of Responses repeats the whole answer.
const MAX_LINE_BYTES: usize = 8 << 20;
/// Bytes of a stream, or of another answer, that count as one token when no usage is reported. An event with one token of text has about a
/// hundred bytes.
const STREAM_BYTES_PER_TOKEN: u64 = 32;
const BYTES_PER_TOKEN: u64 = 3;

/// What a whole answer, or its beginning, used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    pub tokens: Tokens,
    /// Whether the provider reported the tokens; else they are an estimate.
    pub is_reported: bool,
}

/// The form of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A stream of server-sent events.
    Events,
    /// One JSON value.
    Json,
    /// A form that the gateway cannot read, for example a compressed one.
    Opaque,
}

/// Reads the usage of one answer.
#[derive(Debug)]
pub struct UsageReader {
    format: Format,
    form: Form,
    events: Events,
    answer: Vec<u8>,
    /// Memory for what `events` and `answer` hold.
    buffer: Buffer,
    bytes: u64,
    usage: Usage,
    /// Whether a part of the answer was not read, so that it may have reported usage.
    has_gap: bool,
}

impl UsageReader {
    /// Reads an answer. When `buffer` does not get enough memory, what it does not hold is not read.
    pub fn new(format: Format, form: Form, buffer: Buffer) -> Self {
        let events = Events::new(MAX_LINE_BYTES);
        Self { format, form, events, answer: Vec::new(), buffer, bytes: 0, usage: Usage::default(), has_gap: false }
    }

    /// Reads the next part of the answer.
    pub fn feed(&mut self, part: &[u8]) {
        self.bytes = self.bytes.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        match self.form {
            Form::Events => {
                let (format, usage) = (self.format, &mut self.usage);
                self.events.feed(part, |data| {
                    // Most events report no usage, and need not be parsed.
                    if memchr::memmem::find(data, b"usage").is_some() {
                        format.read_usage(data, usage);
                    }
                });
            }
            Form::Json if self.answer.len() + part.len() <= MAX_ANSWER_BYTES => self.answer.extend_from_slice(part),
            Form::Json => {
                self.answer = Vec::new();
                self.form = Form::Opaque;
            }
            Form::Opaque => {}
        }
        let held = self.events.held().saturating_add(self.answer.capacity());
        if !self.buffer.resize(u64::try_from(held).unwrap_or(u64::MAX)) {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        self.has_gap = true;
        self.events.skip();
        self.answer = Vec::new();
        if self.form == Form::Json {
            self.form = Form::Opaque;
        }
        self.buffer.resize(0);
    }

    /// Returns what the answer used. `complete` says whether the server ended it. `estimate` is the one of the request, which replaces what
    /// the server has not reported.
    pub fn finish(mut self, complete: bool, estimate: &Tokens) -> Observed {
        if self.form == Form::Json && complete {
            self.format.read_usage(&self.answer, &mut self.usage);
            self.usage.is_final = self.usage.tokens.is_some();
        }
        match self.usage {
            Usage { tokens: Some(tokens), is_final: true } => Observed { tokens, is_reported: true },
            Usage { tokens, .. } => {
                // An event has at least one token, also beyond the estimate of a request that does not limit its output.
                let most = estimate.output.max(self.events.count());
                // Of an answer without its end, nobody knows how much the model has written or thought that was not sent yet. Of one that
                // could not be read, nobody knows how much it has thought.
                let is_measured = complete && !self.has_gap && self.form != Form::Opaque;
                let output = if is_measured { self.estimated_output().min(most) } else { most };
                let mut tokens = tokens.unwrap_or(Tokens { input: estimate.input, ..Tokens::default() });
                tokens.output = tokens.output.max(output);
                Observed { tokens, is_reported: false }
            }
        }
    }

    fn estimated_output(&self) -> u64 {
        match self.form {
            Form::Events => self.events.count().max(self.bytes.div_ceil(STREAM_BYTES_PER_TOKEN)),
            Form::Json | Form::Opaque => self.bytes.div_ceil(BYTES_PER_TOKEN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::wire::reported::MAX_TOKENS;

    const ESTIMATE: Tokens =
        Tokens { input: 500, cached_input: 0, cache_write: 0, cache_write_hour: 0, output: 1000, reasoning: 0 };
    const CHAT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"usage\"},\"finish_reason\":null}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";
    const ANTHROPIC: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"delta\":{\"text\":\"a\"}}\n\nevent: message_delta\ndata: {\"usage\":{\"output_tokens\":4}}\n\nevent: message_stop\ndata: {}\n\n";
    const RESPONSES: &str = "event: response.created\ndata: {\"response\":{\"usage\":null}}\n\nevent: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":4}}}\n\n";
    const GEMINI: &str = "data: {\"candidates\":[{\"content\":{}}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":1}}\r\n\r\ndata: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":4}}\r\n\r\n";
    const STREAMS: [(Format, &str); 4] = [
        (Format::Chat, CHAT),
        (Format::Anthropic, ANTHROPIC),
        (Format::Responses, RESPONSES),
        (Format::Gemini, GEMINI),
    ];

    fn observe(format: Format, form: Form, parts: &[&[u8]], complete: bool) -> Observed {
        let mut reader = UsageReader::new(format, form, Memory::new(1 << 20, 1 << 20).share("a").buffer());
        for part in parts {
            reader.feed(part);
        }
        reader.finish(complete, &ESTIMATE)
    }

    #[test]
    fn reads_streams_split_at_every_byte() {
        let expected = Observed { tokens: Tokens { input: 9, output: 4, ..Tokens::default() }, is_reported: true };
        for (format, stream) in STREAMS {
            for at in 0..=stream.len() {
                let (first, second) = stream.as_bytes().split_at(at);
                assert_eq!(observe(format, Form::Events, &[first, second], true), expected, "{format:?} {at}");
            }
            let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
            assert_eq!(observe(format, Form::Events, &bytes, false), expected, "the client left after the end");
        }
    }

    #[test]
    fn estimates_what_a_cut_stream_does_not_report() {
        for (format, stream) in STREAMS {
            let half = &stream.as_bytes()[..stream.len() / 2];
            let Observed { tokens, is_reported } = observe(format, Form::Events, &[half], false);
            assert!(!is_reported && tokens.output == ESTIMATE.output, "{format:?}: {tokens:?}");
            assert!(tokens.input == 9 || tokens.input == ESTIMATE.input, "{format:?}: {tokens:?}");
        }
        let nothing = observe(Format::Chat, Form::Events, &[], false);
        assert_eq!(nothing.tokens, ESTIMATE);
        let whole = "data: {\"choices\":[{\"delta\":{}}]}\n\ndata: [DONE]\n\n";
        let Observed { tokens, is_reported } = observe(Format::Chat, Form::Events, &[whole.as_bytes()], true);
        assert!(!is_reported && (1..10).contains(&tokens.output), "an answer with its end is measured: {tokens:?}");
    }

    /// An agent could otherwise leave before the end of each answer.
    #[test]
    fn what_was_sent_counts_beyond_the_estimate() {
        let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n".repeat(5000);
        for complete in [false, true] {
            let Observed { tokens, is_reported } = observe(Format::Chat, Form::Events, &[stream.as_bytes()], complete);
            assert_eq!((tokens.output, is_reported), (5000, false));
        }
    }

    #[test]
    fn reads_plain_answers() {
        let body = br#"{"choices":[{}],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#;
        let reported = observe(Format::Chat, Form::Json, &[&body[..10], &body[10..]], true);
        assert_eq!(reported.tokens, Tokens { input: 9, output: 4, ..Tokens::default() });
        assert!(reported.is_reported);
        assert!(!observe(Format::Chat, Form::Json, &[&body[..40]], false).is_reported);
        let opaque = observe(Format::Chat, Form::Opaque, &[&[0x1f; 30]], true);
        assert_eq!((opaque.is_reported, opaque.tokens.output), (false, ESTIMATE.output));
    }

    #[test]
    fn estimates_what_the_memory_does_not_hold() {
        let memory = Memory::new(8 << 10, 4 << 10);
        let padding = "x".repeat(9000);
        let body = format!(r#"{{"text":"{padding}","usage":{{"prompt_tokens":9,"completion_tokens":4}}}}"#);
        let stream = format!("data: {{\"text\":\"{padding}\"}}\n\n{CHAT}");
        let read = |form, text: &str| {
            let mut reader = UsageReader::new(Format::Chat, form, memory.share("a").buffer());
            for part in text.as_bytes().chunks(1000) {
                reader.feed(part);
            }
            assert!(memory.share("a").buffer().resize(2 << 10), "it has let go");
            reader.finish(true, &ESTIMATE)
        };
        let Observed { tokens, is_reported } = read(Form::Json, &body);
        assert!(!is_reported && tokens.output == ESTIMATE.output, "{tokens:?}");
        assert!(read(Form::Events, &stream).is_reported, "the line that reports usage is short");
    }

    /// A tenant could otherwise fill its memory, and think for nothing.
    #[test]
    fn an_answer_that_is_not_read_counts_as_a_whole() {
        let memory = Memory::new(8 << 10, 4 << 10);
        let mut full = memory.share("a").buffer();
        assert!(full.resize(4 << 10));
        let body = r#"{"text":"","usage":{"prompt_tokens":9,"completion_tokens":900}}"#;
        for (form, text) in [(Form::Json, body.to_owned()), (Form::Events, format!("data: {body}\n\n"))] {
            let mut reader = UsageReader::new(Format::Chat, form, memory.share("a").buffer());
            for part in text.as_bytes().chunks(10) {
                reader.feed(part);
            }
            assert_eq!(reader.finish(true, &ESTIMATE), Observed { tokens: ESTIMATE, is_reported: false }, "{form:?}");
        }
    }

    #[test]
    fn does_not_believe_absurd_counts() {
        let body = format!(r#"{{"usage":{{"prompt_tokens":{},"completion_tokens":{}}}}}"#, u64::MAX, u64::MAX);
        let reported = observe(Format::Chat, Form::Json, &[body.as_bytes()], true);
        assert_eq!(reported.tokens.total(), 2 * MAX_TOKENS);
    }
}
