import CSwiftCP
import ImageFormat

/// What one image says of descriptors, as far as merging looks at it.
struct ImageTables {
    /// For messages: the image's path.
    var name = ""
    /// As the process sees itself.
    var pid: UInt32 = 0
    var objects: [scp_object] = []
    var descriptors: [scp_descriptor] = []
    var watches: [scp_watch] = []
    var locks: [scp_lock] = []
    var blobs: [scp_blob] = []
    /// NUL-terminated, offset 0 is the empty one.
    var strings: [UInt8] = [0]

    init() {}

    init(_ image: Image) {
        name = image.path
        pid = image.process.pid
        objects = image.objects
        descriptors = image.descriptors
        watches = image.watches
        locks = image.locks
        blobs = image.blobs
        strings = image.stringTable
    }
}

/// The tables of all images of a set as one: what several processes share stands there once.
///
/// An open file description that several processes have has the same identity in all their images, and one image has
/// it complete (without `SCP_OBJECT_BORROWED`). Both ends of a pipe or connection may be in different images: they
/// find each other here by inode or address; an end whose other end nobody has leads outside.
///
/// Pure: it looks at nothing but the tables.
struct MergedTables {
    private(set) var objects: [scp_object] = []
    /// By object: the image (its place in the set) that it was taken from.
    private(set) var objectMembers: [UInt32] = []
    /// Those of an image in a row, ascending by number.
    private(set) var descriptors: [scp_descriptor] = []
    /// By image: its part of `descriptors`.
    private(set) var memberRanges: [Range<Int>] = []
    private(set) var watches: [scp_watch] = []
    private(set) var locks: [scp_lock] = []
    private(set) var blobs: [scp_blob] = []
    /// By blob: the image that holds it.
    private(set) var blobMembers: [UInt32] = []
    private(set) var strings: [UInt8] = [0]
    /// By image: what its number of an object is here.
    private(set) var translations: [[UInt32]] = []

    /// Throws when an image refers to an object that no image has complete, or the whole is too large.
    init(_ tables: [ImageTables]) throws(RestartError) {
        let images = Self.unifySockets(tables)
        let whole = Self.completeObjects(images)
        var numbers: [UInt64: UInt32] = [:]
        var stringBases: [UInt32] = []
        var blobBases: [UInt32] = []
        for image in images {
            stringBases.append(try Self.base(strings.count + image.strings.count, minus: image.strings.count))
            blobBases.append(try Self.base(blobs.count + image.blobs.count, minus: image.blobs.count))
            blobMembers += [UInt32](repeating: UInt32(blobBases.count - 1), count: image.blobs.count)
            strings += image.strings
            blobs += image.blobs
        }
        for (member, image) in images.enumerated() {
            var translation = [UInt32](repeating: .max, count: image.objects.count)
            for index in image.objects.indices where whole.contains(Place(member, index)) {
                translation[index] = UInt32(objects.count)
                if image.objects[index].identity > 0 {
                    numbers[image.objects[index].identity] = UInt32(objects.count)
                }
                objects.append(image.objects[index])
                objectMembers.append(UInt32(member))
                relocate(objects.count - 1, strings: stringBases[member], blobs: blobBases[member])
            }
            translations.append(translation)
        }
        try translateShared(images, numbers)
        try translateHeld(images)
        for (member, image) in images.enumerated() { add(image, member, strings: stringBases[member], whole) }
        joinPipes()
        joinSockets()
        joinTerminals()
    }

    // MARK: - Objects

    struct Place: Hashable {
        let member: Int
        let index: Int
        init(_ member: Int, _ index: Int) { (self.member, self.index) = (member, index) }
    }

    /// A socket has one open file description only. One that stands in a queue was not numbered: where another image has
    /// the same socket, at a number or in a queue too, it is that.
    private static func unifySockets(_ tables: [ImageTables]) -> [ImageTables] {
        var images = tables
        var known: [Inode: UInt64] = [:]
        var highest: UInt64 = 0
        for object in images.lazy.flatMap(\.objects) where object.identity > 0 {
            highest = max(highest, object.identity)
            if object.isSocket { known[Inode(device: object.device, inode: object.inode)] = object.identity }
        }
        for member in images.indices {
            for index in images[member].objects.indices {
                let object = images[member].objects[index]
                guard object.isSocket, object.identity == 0, object.flags & SCP_OBJECT_IN_FLIGHT.rawValue != 0 else {
                    continue
                }
                let inode = Inode(device: object.device, inode: object.inode)
                if let identity = known[inode] {
                    images[member].objects[index].flags |= SCP_OBJECT_BORROWED.rawValue
                    images[member].objects[index].identity = identity
                } else if highest < .max {
                    highest += 1
                    images[member].objects[index].identity = highest
                    known[inode] = highest
                }
            }
        }
        return images
    }

    /// The objects that are taken: private ones, and of shared ones the first that is complete.
    private static func completeObjects(_ images: [ImageTables]) -> Set<Place> {
        var taken = Set<UInt64>()
        var places = Set<Place>()
        for (member, image) in images.enumerated() {
            for (index, object) in image.objects.enumerated() where object.flags & SCP_OBJECT_HELD.rawValue == 0 {
                if object.identity > 0 {
                    guard object.flags & SCP_OBJECT_BORROWED.rawValue == 0 else { continue }
                    guard taken.insert(object.identity).inserted else { continue }
                }
                places.insert(Place(member, index))
            }
        }
        return places
    }

    private static func base(_ end: Int, minus count: Int) throws(RestartError) -> UInt32 {
        guard end < Int(UInt32.max) else { throw RestartError("the set's images have more than 4 GiB of names") }
        return UInt32(end - count)
    }

    private mutating func relocate(_ index: Int, strings base: UInt32, blobs blobBase: UInt32) {
        if objects[index].path != 0 { objects[index].path += base }
        if objects[index].socket != 0 { objects[index].socket += base }
        if objects[index].blob != SCP_NO_BLOB { objects[index].blob += blobBase }
    }

    private mutating func translateShared(_ images: [ImageTables], _ numbers: [UInt64: UInt32]) throws(RestartError) {
        for (member, image) in images.enumerated() {
            for index in image.objects.indices
            where translations[member][index] == .max && image.objects[index].flags & SCP_OBJECT_HELD.rawValue == 0 {
                guard let number = numbers[image.objects[index].identity] else {
                    let number = image.descriptors.first { $0.object == index }.map { "descriptor \($0.number)" }
                    throw RestartError.unusable(
                        image.name,
                        "\(number ?? "a descriptor in a socket's queue") is shared with a process whose image is not"
                            + " there; name the whole generation")
                }
                translations[member][index] = number
            }
        }
    }

    /// What stands in a queue of one process, and is open under a number in another.
    private mutating func translateHeld(_ images: [ImageTables]) throws(RestartError) {
        for (member, image) in images.enumerated() {
            for (index, object) in image.objects.enumerated() where object.flags & SCP_OBJECT_HELD.rawValue != 0 {
                let holder = images.firstIndex { UInt64($0.pid) == object.value.0 }
                let descriptor = holder.flatMap { images[$0].descriptors.first { UInt64($0.number) == object.value.1 } }
                guard let holder, let descriptor, Int(descriptor.object) < translations[holder].count else {
                    throw RestartError.unusable(
                        image.name,
                        "a descriptor in a socket's queue is descriptor \(object.value.1) of process \(object.value.0),"
                            + " which no image has; name the whole generation")
                }
                translations[member][index] = translations[holder][Int(descriptor.object)]
            }
        }
    }

    // MARK: - What refers to them

    private mutating func add(_ image: ImageTables, _ member: Int, strings base: UInt32, _ whole: Set<Place>) {
        let translation = translations[member]
        let first = descriptors.count
        descriptors += image.descriptors.map { record in
            var record = record
            record.object = translation[Int(record.object)]
            return record
        }
        memberRanges.append(first..<descriptors.count)
        // A set that several processes share is filled by the one whose image has it.
        for record in image.watches where whole.contains(Place(member, Int(record.object))) {
            var record = record
            record.object = translation[Int(record.object)]
            if record.target_object >= 0 { record.target_object = Int32(translation[Int(record.target_object)]) }
            if record.path != 0 { record.path += base }
            watches.append(record)
        }
        for record in image.locks {
            var record = record
            record.object = translation[Int(record.object)]
            if !isKnown(record) { locks.append(record) }
        }
    }

    /// A lock that belongs to an open file description is in the image of everybody who has that.
    private func isKnown(_ lock: scp_lock) -> Bool {
        guard lock.kind == SCP_LOCK_FLOCK.rawValue || lock.kind == SCP_LOCK_OPEN_FILE.rawValue else { return false }
        return locks.contains {
            $0.kind == lock.kind && $0.object == lock.object && $0.start == lock.start && $0.length == lock.length
        }
    }

    // MARK: - Ends

    private struct Inode: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    /// All ends of a pipe: inside when somebody reads and somebody writes; the first has what stands in it.
    private mutating func joinPipes() {
        var groups: [Inode: [Int]] = [:]
        for (index, object) in objects.enumerated() where object.isPipe {
            groups[Inode(device: object.device, inode: object.inode), default: []].append(index)
        }
        for group in groups.values {
            let access = group.map { objects[$0].status & 3 }
            let isWhole = access.contains { $0 != 1 } && access.contains { $0 != 0 }
            for index in group { objects[index].settlePipe(isWhole: isWhole) }
            guard let content = group.first(where: { objects[$0].flags & SCP_OBJECT_HAS_CONTENT.rawValue != 0 }),
                let first = group.first, content != first
            else { continue }
            let mask = SCP_OBJECT_HAS_CONTENT.rawValue | SCP_OBJECT_PACKETS.rawValue
            objects[first].blob = objects[content].blob
            objects[first].flags = objects[first].flags & ~mask | objects[content].flags & mask
        }
    }

    private mutating func joinSockets() {
        var numbers: [UInt64: Int] = [:]
        var addresses: [[UInt8]: Int] = [:]
        for (index, object) in objects.enumerated() where object.isSocket {
            numbers[object.value.6] = index
            if object.isConnectedTCP, let (own, peer) = names(object) { addresses[own + [0] + peer] = index }
        }
        for index in objects.indices where objects[index].isSocket {
            let object = objects[index]
            var peer: Int?
            if object.isConnectedTCP {
                if let (own, other) = names(object) { peer = addresses[other + [0] + own] }
                if let peer { objects[index].value.7 = objects[peer].value.6 }
            } else if object.value.0 == 1, object.value.7 != 0 {
                peer = numbers[object.value.7]
            }
            objects[index].settleSocket(hasPeer: peer != nil)
        }
    }

    /// A terminal whose master is of the set comes back with it; any other is the user's.
    private mutating func joinTerminals() {
        let masters = Set(objects.filter { $0.kind == SCP_OBJECT_TERMINAL_MASTER.rawValue }.map(\.value.0))
        for index in objects.indices where objects[index].kind == SCP_OBJECT_TERMINAL.rawValue {
            guard let number = pseudoTerminalNumber(ofDevice: objects[index].value.1), masters.contains(number)
            else { continue }
            objects[index].kind = SCP_OBJECT_TERMINAL_SLAVE.rawValue
            objects[index].value.0 = number
        }
    }

    /// The words of a socket's own and its peer's address.
    private func names(_ object: scp_object) -> ([UInt8], [UInt8])? {
        let text = strings[Int(object.socket)...].prefix { $0 != 0 }
        var own: [UInt8]?
        var peer: [UInt8]?
        for word in text.split(separator: UInt8(ascii: " ")) {
            if word.starts(with: [UInt8(ascii: "n"), UInt8(ascii: "=")]) { own = Array(word.dropFirst(2)) }
            if word.starts(with: [UInt8(ascii: "p"), UInt8(ascii: "=")]) { peer = Array(word.dropFirst(2)) }
        }
        guard let own, let peer, !own.isEmpty, !peer.isEmpty else { return nil }
        return (own, peer)
    }
}

extension scp_object {
    private static let typeMask: UInt32 = 0o170_000
    private static let fifoType: UInt32 = 0o010_000
    private static let socketType: UInt32 = 0o140_000

    fileprivate var isPipe: Bool {
        kind == SCP_OBJECT_PIPE.rawValue || kind == SCP_OBJECT_FIFO.rawValue
            || kind == SCP_OBJECT_OUTSIDE.rawValue && mode & Self.typeMask == Self.fifoType
    }

    fileprivate var isSocket: Bool {
        kind == SCP_OBJECT_SOCKET.rawValue || kind == SCP_OBJECT_SOCKET_PAIR.rawValue
            || kind == SCP_OBJECT_OUTSIDE.rawValue && mode & Self.typeMask == Self.socketType
    }

    /// A TCP socket whose other end is open.
    fileprivate var isConnectedTCP: Bool {
        (value.0 == 2 || value.0 == 10) && value.1 == 1
            && (value.3 == UInt64(SCP_SOCKET_CONNECTED.rawValue) || flags & SCP_OBJECT_ELSEWHERE.rawValue != 0)
    }

    /// Decides, over all images, whether the end of a pipe is inside or leads outside.
    fileprivate mutating func settlePipe(isWhole: Bool) {
        let elsewhere = flags & SCP_OBJECT_ELSEWHERE.rawValue != 0
        flags &= ~SCP_OBJECT_ELSEWHERE.rawValue
        if isWhole {
            flags &= ~SCP_OBJECT_NEVER_WRITER.rawValue
            if kind == SCP_OBJECT_OUTSIDE.rawValue {
                kind = path != 0 ? SCP_OBJECT_FIFO.rawValue : SCP_OBJECT_PIPE.rawValue
            }
        } else if elsewhere, flags & SCP_OBJECT_NEVER_WRITER.rawValue == 0 {
            kind = SCP_OBJECT_OUTSIDE.rawValue
        }
    }

    fileprivate mutating func settleSocket(hasPeer: Bool) {
        let elsewhere = flags & SCP_OBJECT_ELSEWHERE.rawValue != 0
        flags &= ~SCP_OBJECT_ELSEWHERE.rawValue
        if hasPeer {
            if kind == SCP_OBJECT_OUTSIDE.rawValue { kind = SCP_OBJECT_SOCKET_PAIR.rawValue }
            if elsewhere { value.3 = UInt64(SCP_SOCKET_CONNECTED.rawValue) }
        } else if elsewhere {
            kind = SCP_OBJECT_OUTSIDE.rawValue
        }
    }
}
