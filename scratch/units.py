"""Units of each site in order, by hand."""

UNITS = {
    "linen_dit_adaln": [16, 16, 64, 16, 64, 16],
    "nnx_score_sde_loss": [16, 4, 8, 4],
    "linen_diffusion_policy_ddim": [16, 4, 14, 4, 8, 14, 8, 4, 14, 4, 4],
    "plain_glow_likelihood": [8, 8, 3] * 3,
    "plain_spline_flow_likelihood": [8, 8, 3] * 2,
    "linen_pixelcnn_likelihood": [16, 16, 8, 16, 16, 8, 16],
    "plain_relu_in_parts": [4, 3, 8, 8, 16, 8],
    "plain_gemma2_bfloat16_scan": [5, 16, 11],
    "nnx_noisy_topk_reglu_moe": [4, 16] * 2,
    "haiku_gatv2_gcn": [4, 8, 4, 6],
    "plain_xlstm_matrix_memory": [8, 8, 16],
    "plain_convex_transport": [8] * 6,
    "haiku_evoformer_frame_loss": [4, 4, 6, 12, 4, 6, 6],
    "equinox_nerf_rendering_loss": [16, 16, 8, 3, 1],
    "plain_squashed_policy_sample": [8, 8, 2, 2],
}
