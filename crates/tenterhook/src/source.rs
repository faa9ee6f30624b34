//! A source: a configured path that receives from one provider. Knows verification, ids and limits; knows nothing of
//! stores or destinations.
