// Processor features: what scp_image_header.cpu_features holds, and how to ask the processor at hand.
// Used by the shim (what the program may have found and use) and by readers (does this host have it all?).
// Bump SCP_FORMAT_VERSION when a word changes its meaning or a mask gains a bit.
//
// Only instructions that a program can use count: hints that other processors ignore, and what concerns kernels alone,
// are masked out, so that an image is not refused without need.
// Source: Intel SDM 2A, CPUID; AMD APM 3, appendix E.
#ifndef SWIFTCP_CPU_H
#define SWIFTCP_CPU_H

#include <stdint.h>

#define SCP_CPU_WORDS 16

#if defined(__x86_64__)
#include <cpuid.h>

// word: leaf, subleaf, register             mask
//  0  leaf 1 ecx     sse3 pclmulqdq ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt aes xsave osxsave avx f16c rdrand
//  1  leaf 1 edx     fpu tsc cx8 cmov clflush mmx fxsr sse sse2
//  2  leaf 7.0 ebx   fsgsbase bmi1 avx2 bmi2 rtm avx512f avx512dq rdseed adx avx512ifma clflushopt clwb avx512cd
//                    sha avx512bw avx512vl
//  3  leaf 7.0 ecx   avx512vbmi ospke waitpkg avx512vbmi2 gfni vaes vpclmulqdq avx512vnni avx512bitalg
//                    avx512vpopcntdq rdpid movdiri movdir64b
//  4  leaf 7.0 edx   avx512vp2intersect serialize amxbf16 avx512fp16 amxtile amxint8
//  5  leaf 7.1 eax   sha512 sm3 sm4 avxvnni avx512bf16 cmpccxadd amxfp16 avxifma
//  6  leaf 7.1 edx   avxvnniint8 avxneconvert amxcomplex avxvnniint16
//  7  80000001 ecx   lahf_lm abm sse4a xop fma4 tbm
//  8  80000001 edx   syscall mmxext rdtscp 3dnowext 3dnow
//  9  leaf d.1 eax   xsaveopt xsavec xgetbv1
//  10 80000008 ebx   clzero
//  11-15             0
struct scp_cpu_word {
    uint32_t leaf, subleaf, output; // output: 0 eax, 1 ebx, 2 ecx, 3 edx
    uint32_t mask;
};
static inline struct scp_cpu_word scp_cpu_word(unsigned word) {
    static const struct scp_cpu_word words[] = {
        {1, 0, 2, 0x7ed83203u}, // 0
        {1, 0, 3, 0x07888111u}, // 1
        {7, 0, 1, 0xf1af0929u}, // 2
        {7, 0, 2, 0x18405f72u}, // 3
        {7, 0, 3, 0x03c04100u}, // 4
        {7, 1, 0, 0x00a000b7u}, // 5
        {7, 1, 3, 0x00000530u}, // 6
        {0x80000001u, 0, 2, 0x00210861u}, // 7
        {0x80000001u, 0, 3, 0xc8400800u}, // 8
        {0xd, 1, 0, 0x00000007u}, // 9
        {0x80000008u, 0, 1, 0x00000001u}, // 10
    };
    const struct scp_cpu_word none = {0, 0, 0, 0};
    return word < sizeof words / sizeof *words ? words[word] : none;
}

// Fills the words for the processor this runs on. Under a hypervisor each question takes microseconds: none is asked twice.
static inline void scp_cpu_features(uint32_t words[SCP_CPU_WORDS]) {
    uint32_t basic = __get_cpuid_max(0, 0), extended = __get_cpuid_max(0x80000000u, 0);
    uint32_t registers[4] = {0, 0, 0, 0}, subleaves = 0; // of leaf 7
    struct scp_cpu_word asked = {0, 0, 0, 0};
    for (unsigned word = 0; word < SCP_CPU_WORDS; word++) {
        struct scp_cpu_word what = scp_cpu_word(word);
        words[word] = 0;
        if (what.mask == 0 || what.leaf > (what.leaf & 0x80000000u ? extended : basic) ||
            (what.leaf == 7 && what.subleaf > subleaves))
            continue;
        if (what.leaf != asked.leaf || what.subleaf != asked.subleaf)
            __cpuid_count(what.leaf, what.subleaf, registers[0], registers[1], registers[2], registers[3]);
        asked = what;
        if (what.leaf == 7 && what.subleaf == 0)
            subleaves = registers[0];
        words[word] = registers[what.output] & what.mask;
    }
}

// XCR0: which register states the kernel has enabled; 0 where there is no XSAVE.
static inline uint64_t scp_cpu_xfeatures(void) {
    uint32_t a, b, features, d, low, high;
    if (!__get_cpuid(1, &a, &b, &features, &d) || !(features & bit_OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

// The name of a bit that a mask above lets through, as /proc/cpuinfo spells it; "" for others.
static inline const char *scp_cpu_feature_name(unsigned word, unsigned bit) {
    static const struct {
        uint8_t word, bit;
        const char *name;
    } names[] = {
        {0, 0, "pni"},
        {0, 1, "pclmulqdq"},
        {0, 9, "ssse3"},
        {0, 12, "fma"},
        {0, 13, "cx16"},
        {0, 19, "sse4_1"},
        {0, 20, "sse4_2"},
        {0, 22, "movbe"},
        {0, 23, "popcnt"},
        {0, 25, "aes"},
        {0, 26, "xsave"},
        {0, 27, "osxsave"},
        {0, 28, "avx"},
        {0, 29, "f16c"},
        {0, 30, "rdrand"},
        {1, 0, "fpu"},
        {1, 4, "tsc"},
        {1, 8, "cx8"},
        {1, 15, "cmov"},
        {1, 19, "clflush"},
        {1, 23, "mmx"},
        {1, 24, "fxsr"},
        {1, 25, "sse"},
        {1, 26, "sse2"},
        {2, 0, "fsgsbase"},
        {2, 3, "bmi1"},
        {2, 5, "avx2"},
        {2, 8, "bmi2"},
        {2, 11, "rtm"},
        {2, 16, "avx512f"},
        {2, 17, "avx512dq"},
        {2, 18, "rdseed"},
        {2, 19, "adx"},
        {2, 21, "avx512ifma"},
        {2, 23, "clflushopt"},
        {2, 24, "clwb"},
        {2, 28, "avx512cd"},
        {2, 29, "sha_ni"},
        {2, 30, "avx512bw"},
        {2, 31, "avx512vl"},
        {3, 1, "avx512vbmi"},
        {3, 4, "ospke"},
        {3, 5, "waitpkg"},
        {3, 6, "avx512_vbmi2"},
        {3, 8, "gfni"},
        {3, 9, "vaes"},
        {3, 10, "vpclmulqdq"},
        {3, 11, "avx512_vnni"},
        {3, 12, "avx512_bitalg"},
        {3, 14, "avx512_vpopcntdq"},
        {3, 22, "rdpid"},
        {3, 27, "movdiri"},
        {3, 28, "movdir64b"},
        {4, 8, "avx512_vp2intersect"},
        {4, 14, "serialize"},
        {4, 22, "amx_bf16"},
        {4, 23, "avx512_fp16"},
        {4, 24, "amx_tile"},
        {4, 25, "amx_int8"},
        {5, 0, "sha512"},
        {5, 1, "sm3"},
        {5, 2, "sm4"},
        {5, 4, "avx_vnni"},
        {5, 5, "avx512_bf16"},
        {5, 7, "cmpccxadd"},
        {5, 21, "amx_fp16"},
        {5, 23, "avx_ifma"},
        {6, 4, "avx_vnni_int8"},
        {6, 5, "avx_ne_convert"},
        {6, 8, "amx_complex"},
        {6, 10, "avx_vnni_int16"},
        {7, 0, "lahf_lm"},
        {7, 5, "abm"},
        {7, 6, "sse4a"},
        {7, 11, "xop"},
        {7, 16, "fma4"},
        {7, 21, "tbm"},
        {8, 11, "syscall"},
        {8, 22, "mmxext"},
        {8, 27, "rdtscp"},
        {8, 30, "3dnowext"},
        {8, 31, "3dnow"},
        {9, 0, "xsaveopt"},
        {9, 1, "xsavec"},
        {9, 2, "xgetbv1"},
        {10, 0, "clzero"},
    };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].word == word && names[i].bit == bit)
            return names[i].name;
    return "";
}
#else
#error "a port supplies its feature words here"
#endif

#endif
