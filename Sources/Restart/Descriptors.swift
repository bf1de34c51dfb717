import CRestart
import CSwiftCP
import ImageFormat
import SystemCalls

/// The open files of a set, made in this process. They go with this object; the processes have their own by then.
struct MadeDescriptors: ~Copyable {
    let raw: OpaquePointer
    /// The C side borrows the tables for as long as it lives.
    private let tables: BorrowedTables

    fileprivate init(_ raw: OpaquePointer, _ tables: BorrowedTables) {
        self.raw = raw
        self.tables = tables
    }

    deinit { crestart_descriptors_release(raw) }

    func find(device: UInt64, inode: UInt64) -> Int32 { crestart_descriptors_find(raw, device, inode) }

    /// What could not be brought back exactly, a sentence each.
    var warnings: [String] {
        guard let text = crestart_descriptors_warnings(raw) else { return [] }
        return String(cString: text).split(separator: "\n").map(String.init)
    }

    /// The processes have their own now.
    func letGo() { crestart_descriptors_let_go(raw) }

    /// Makes again what was let go.
    func again() throws(RestartError) {
        let result = crestart_descriptors_again(raw)
        if result < 0 { throw RestartError(String(cString: crestart_descriptors_problem(raw))) }
    }

    /// Checks, and changes nothing.
    static func check(
        _ merged: MergedTables, of images: [Image], _ options: RestartOptions
    ) throws(RestartError) {
        let tables = BorrowedTables(merged, images, options)
        var message = crestart_message()
        let result = crestart_descriptors_check(tables.tables, tables.options, &message)
        if result < 0 { throw RestartError(message.string) }
    }

    static func make(
        _ merged: MergedTables, of images: [Image], _ options: RestartOptions
    ) throws(RestartError) -> MadeDescriptors {
        let tables = BorrowedTables(merged, images, options)
        var message = crestart_message()
        var made: OpaquePointer?
        let result = crestart_descriptors_make(tables.tables, tables.options, &made, &message)
        guard result >= 0, let made else { throw RestartError(message.string) }
        return MadeDescriptors(made, tables)
    }
}

extension crestart_message {
    var string: String {
        withUnsafeBytes(of: text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

/// Merged tables at fixed addresses, as C wants them.
private final class BorrowedTables {
    let tables: UnsafeMutablePointer<crestart_tables>
    let options: UnsafeMutablePointer<crestart_descriptor_options>
    private let fixed = FixedMemory()
    private let images: [Image]

    init(_ merged: MergedTables, _ images: [Image], _ options: RestartOptions) {
        self.images = images
        tables = .allocate(capacity: 1)
        self.options = .allocate(capacity: 1)
        var table = crestart_tables()
        table.objects = UnsafePointer(fixed.keep(merged.objects))
        table.object_members = UnsafePointer(fixed.keep(merged.objectMembers))
        table.descriptors = UnsafePointer(fixed.keep(merged.descriptors))
        table.watches = UnsafePointer(fixed.keep(merged.watches))
        table.locks = UnsafePointer(fixed.keep(merged.locks))
        table.blobs = UnsafePointer(fixed.keep(merged.blobs))
        table.blob_members = UnsafePointer(fixed.keep(merged.blobMembers))
        table.strings = UnsafePointer(fixed.keep(merged.strings.map { CChar(bitPattern: $0) }))
        table.strings_length = UInt64(merged.strings.count)
        table.object_count = UInt32(merged.objects.count)
        table.descriptor_count = UInt32(merged.descriptors.count)
        table.watch_count = UInt32(merged.watches.count)
        table.lock_count = UInt32(merged.locks.count)
        table.blob_count = UInt32(merged.blobs.count)
        table.members = UnsafePointer(fixed.keep(images.indices.map { member(merged, $0) }))
        table.member_count = UInt32(images.count)
        tables.initialize(to: table)
        self.options.initialize(to: choice(options))
    }

    private func member(_ merged: MergedTables, _ index: Int) -> crestart_member {
        let (image, range) = (images[index], merged.memberRanges[index])
        var member = crestart_member()
        member.pid = image.process.pid
        (member.first_descriptor, member.descriptor_count) = (UInt32(range.lowerBound), UInt32(range.count))
        (member.image, member.image_length) = (image.file.descriptor, image.file.size)
        member.directory = UnsafePointer(fixed.text(image.string(image.process.directory)))
        member.objects = UnsafePointer(fixed.keep(merged.translations[index]))
        member.object_count = UInt32(merged.translations[index].count)
        return member
    }

    private func choice(_ options: RestartOptions) -> crestart_descriptor_options {
        var choice = crestart_descriptor_options()
        choice.files = options.files
        choice.terminal = options.terminal
        let maps = options.maps.map { map in
            crestart_path_map(from: UnsafePointer(fixed.text(map.from)), to: UnsafePointer(fixed.text(map.to)))
        }
        choice.maps = UnsafePointer(fixed.keep(maps))
        choice.map_count = maps.count
        return choice
    }

    deinit {
        tables.deallocate()
        options.deallocate()
    }
}
