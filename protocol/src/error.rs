use std::error::Error;

/// Any error that can cross threads: what serializers and converters fail with.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// Why a datagram is no packet: the step that failed, and its cause as
/// [`source`](Error::source).
///
/// It is the fault of **the peer**: its datagram is wrong, or it speaks another protocol. A server
/// answers it or ignores it; it says nothing about the state of this end.
///
/// `{error}` names the step that failed, and no more. What was wrong, such as the line and column
/// of bad JSON, is in the causes:
///
/// ```
/// use std::error::Error;
///
/// # let error = postbox_protocol::DatagramParseError::Deserialize("no JSON".into());
/// let mut text = error.to_string();
/// let mut cause = error.source();
/// while let Some(error) = cause {
///     text = format!("{text}: {error}");
///     cause = error.source();
/// }
/// # assert_eq!(text, "received a malformed datagram: no JSON");
/// ```
///
/// Any stranger can provoke that text, and may have written parts of it: a parser quotes what it
/// refuses. Escape it where it is shown (`{text:?}`), and bound how often it is logged.
///
/// # Examples
///
/// ```
/// use std::error::Error;
///
/// use postbox_protocol::DatagramParseError;
///
/// fn answer(error: &DatagramParseError) -> &'static str {
///     match error {
///         DatagramParseError::Deserialize(_) => "that is no request",
///         DatagramParseError::Convert(_) => "that is JSON, but not a valid person",
///         _ => "bad request",
///     }
/// }
///
/// let error = DatagramParseError::Convert("the age is negative".into());
/// assert!(error.is_convert());
/// assert_eq!(answer(&error), "that is JSON, but not a valid person");
/// assert_eq!(error.source().unwrap().to_string(), "the age is negative");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramParseError {
    /// The serializer refused the bytes: they are not one whole document of the format or, with a
    /// typed codec, not one of its type. (To tell the two apart, receive an untyped value and
    /// convert it.)
    #[error("received a malformed datagram")]
    Deserialize(#[source] BoxError),

    /// The bytes are a document of the format, but the converter refused what it says.
    #[error("received a well-formed datagram that is not a valid packet")]
    Convert(#[source] BoxError),
}

impl DatagramParseError {
    /// Returns whether the serializer refused the bytes.
    pub fn is_deserialize(&self) -> bool {
        matches!(self, Self::Deserialize(_))
    }

    /// Returns whether the converter refused the well-formed document.
    pub fn is_convert(&self) -> bool {
        matches!(self, Self::Convert(_))
    }
}

/// Why a packet cannot become a datagram: the step that failed, and its cause as
/// [`source`](Error::source).
///
/// It is the fault of **this end**: the program tried to send a packet that its own protocol cannot
/// say. The peer has no part in it and sees nothing of it.
///
/// # Examples
///
/// ```
/// use postbox_protocol::DatagramMakeError;
///
/// let error = DatagramMakeError::Serialize("NaN has no form in JSON".into());
/// assert!(error.is_serialize());
/// assert_eq!(error.to_string(), "cannot serialize the packet to send");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramMakeError {
    /// The converter made no DTO from the packet.
    #[error("cannot convert the packet to send")]
    Convert(#[source] BoxError),

    /// The serializer could not write the DTO in its format.
    #[error("cannot serialize the packet to send")]
    Serialize(#[source] BoxError),
}

impl DatagramMakeError {
    /// Returns whether the converter made no DTO from the packet.
    pub fn is_convert(&self) -> bool {
        matches!(self, Self::Convert(_))
    }

    /// Returns whether the serializer could not write the DTO.
    pub fn is_serialize(&self) -> bool {
        matches!(self, Self::Serialize(_))
    }
}
