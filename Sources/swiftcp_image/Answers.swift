import ImageFormat

// What the commands answer with --json, beside the three keys that all answers have.

struct InfoContent: Encodable {
    let manifest: Manifest?
    let images: [ImageInfo]
}

struct MapsContent: Encodable {
    let image: String
    let regions: [MapsLine]
}

struct VerifyContent: Encodable {
    struct Result: Encodable {
        let image: String
        let bytes: UInt64
        let pieces: Int
        let findings: [String]
    }
    let images: [Result]
}

struct CoreContent: Encodable {
    let image: String
    let core: String
}

struct FlattenContent: Encodable {
    let image: String
    let flat: String
}
