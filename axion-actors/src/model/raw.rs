//! Serialization of opaque bytes: text in formats for people if the bytes are UTF-8, and bytes in all other cases.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) if serializer.is_human_readable() => serializer.serialize_str(text),
        _ => serializer.serialize_bytes(bytes),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    Ok(ByteBuf::deserialize(deserializer)?.into_vec().into())
}

/// The same for optional values of a type that wraps bytes.
pub(super) mod optional {
    use super::{ByteBuf, Bytes, Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::model) fn serialize<T: BytesNewtype, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(|it| serde_bytes::Bytes::new(it.raw())).serialize(serializer)
    }

    pub(in crate::model) fn deserialize<'de, T: BytesNewtype, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(Option::<ByteBuf>::deserialize(deserializer)?.map(|it| T::of_raw(it.into_vec().into())))
    }

    /// A type that is nothing but bytes.
    pub(in crate::model) trait BytesNewtype {
        fn raw(&self) -> &Bytes;
        fn of_raw(bytes: Bytes) -> Self;
    }

    impl BytesNewtype for crate::model::Json {
        fn raw(&self) -> &Bytes {
            &self.0
        }

        fn of_raw(bytes: Bytes) -> Self {
            Self(bytes)
        }
    }

    impl BytesNewtype for crate::model::Pickle {
        fn raw(&self) -> &Bytes {
            &self.0
        }

        fn of_raw(bytes: Bytes) -> Self {
            Self(bytes.into())
        }
    }

    impl<T: BytesNewtype> BytesNewtype for Box<T> {
        fn raw(&self) -> &Bytes {
            (**self).raw()
        }

        fn of_raw(bytes: Bytes) -> Self {
            Self::new(T::of_raw(bytes))
        }
    }
}
