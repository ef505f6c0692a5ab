//! Object stores by URL: local folder, Azure Blob/ADLS, S3; and the probe that refuses a store the protocol cannot
//! stand on.
