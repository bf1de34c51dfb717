/// Copies of Swift values at fixed addresses, for C code that borrows them. They live as long as this object.
final class FixedMemory {
    private var pieces: [UnsafeMutableRawPointer] = []

    /// The elements in a row; room for one at least.
    func keep<Element>(_ elements: [Element]) -> UnsafeMutablePointer<Element> {
        let copy = UnsafeMutablePointer<Element>.allocate(capacity: max(elements.count, 1))
        copy.initialize(from: elements, count: elements.count)
        pieces.append(UnsafeMutableRawPointer(copy))
        return copy
    }

    /// NUL-terminated.
    func text(_ string: String) -> UnsafeMutablePointer<CChar> {
        keep(string.utf8.map { CChar(bitPattern: $0) } + [0])
    }

    deinit {
        for piece in pieces { piece.deallocate() }
    }
}
