import CSwiftCP
import Glibc
import ImageFormat

/// Blocks of an image that the program gets from elsewhere: its files still have them, or the kernel. That they are sound is
/// looked at all the same: who restarts from a damaged image should hear of it. Before anything of the user's is changed, or
/// in the background with the others of a lazy restart.
///
/// Regions alone decide, for nothing has been made yet: where a file has changed after all, its blocks are looked at twice.
struct SparedBlocks {
    /// Of each image.
    let blocks: [[Int]]
    /// Bytes in one image; of more only `swiftcp_image verify` tells.
    private static let limit: UInt64 = 256 << 20

    /// A place in one of the files.
    private struct Place: Hashable {
        let file: UInt64
        let offset: UInt64
        let length: UInt64
        let checksum: UInt64
    }

    init(_ images: [Image], _ kernel: [VDSOPlan]) {
        var seen = Set<Place>()
        blocks = zip(images, kernel).map { image, vdso in Self.spared(image, vdso, &seen) }
    }

    /// Without what several images share and another has named already.
    private static func spared(_ image: Image, _ vdso: VDSOPlan, _ seen: inout Set<Place>) -> [Int] {
        var (blocks, bytes) = ([Int](), UInt64(0))
        for (region, range) in zip(image.regions, image.blocksOfRegion) {
            for index in range where bytes < limit {
                let block = image.blocks[index]
                guard block.stored_length > 0, isSpared(block, of: region, vdso) else { continue }
                if block.file != 0 {
                    let place = Place(
                        file: image.holder(of: block).identity, offset: block.offset, length: block.stored_length,
                        checksum: block.checksum)
                    guard seen.insert(place).inserted else { continue }
                }
                blocks.append(index)
                bytes += block.stored_length
            }
        }
        return blocks
    }

    private static func isSpared(_ block: scp_block, of region: scp_region, _ vdso: VDSOPlan) -> Bool {
        switch region.kind {
        case SCP_REGION_FILE.rawValue:
            return block.flags & SCP_BLOCK_CLEAN.rawValue != 0 && region.flags & SCP_REGION_DELETED.rawValue == 0
        case SCP_REGION_SHARED_FILE.rawValue, SCP_REGION_SHARED_ANONYMOUS.rawValue:
            return region.protection & UInt32(PROT_WRITE) == 0
        case SCP_REGION_VDSO.rawValue, SCP_REGION_VVAR.rawValue:
            if case .trampolines = vdso { return false }
            return true
        default: return false
        }
    }
}
