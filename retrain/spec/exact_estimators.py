"""The estimators whose export is exact, with their parameters. Pure.

Written by `python -m tests.bench.study_estimators`; docs/estimators.md has its figures.
"""

from __future__ import annotations

from retrain.tasks.task import EstimatorKind

EXACT: dict[EstimatorKind, dict[str, str]] = {
    "classifier": {
        "sklearn.calibration.CalibratedClassifierCV": ("cv ensemble estimator method"),
        "sklearn.ensemble.AdaBoostClassifier": ("estimator learning_rate n_estimators"),
        "sklearn.ensemble.BaggingClassifier": (
            "bootstrap bootstrap_features estimator max_features max_samples n_estimators oob_score"
        ),
        "sklearn.ensemble.ExtraTreesClassifier": (
            "bootstrap ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes "
            "max_samples min_impurity_decrease min_samples_leaf min_samples_split "
            "min_weight_fraction_leaf monotonic_cst n_estimators oob_score"
        ),
        "sklearn.ensemble.GradientBoostingClassifier": (
            "ccp_alpha criterion init learning_rate loss max_depth max_features max_leaf_nodes "
            "min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf "
            "n_estimators subsample tol"
        ),
        "sklearn.ensemble.HistGradientBoostingClassifier": (
            "class_weight interaction_cst l2_regularization learning_rate loss max_bins "
            "max_depth max_features max_iter max_leaf_nodes min_samples_leaf monotonic_cst "
            "scoring tol"
        ),
        "sklearn.ensemble.RandomForestClassifier": (
            "bootstrap ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes "
            "max_samples min_impurity_decrease min_samples_leaf min_samples_split "
            "min_weight_fraction_leaf monotonic_cst n_estimators oob_score"
        ),
        "sklearn.linear_model.LogisticRegression": (
            "C class_weight dual fit_intercept intercept_scaling l1_ratio max_iter penalty "
            "solver tol"
        ),
        "sklearn.linear_model.LogisticRegressionCV": (
            "Cs class_weight cv dual fit_intercept intercept_scaling l1_ratios max_iter "
            "penalty refit scoring solver tol use_legacy_attributes"
        ),
        "sklearn.linear_model.SGDClassifier": (
            "alpha average class_weight epsilon eta0 fit_intercept l1_ratio learning_rate loss "
            "max_iter penalty power_t shuffle tol"
        ),
        "sklearn.naive_bayes.BernoulliNB": ("alpha binarize class_prior fit_prior force_alpha"),
        "sklearn.neural_network.MLPClassifier": (
            "activation alpha batch_size beta_1 beta_2 epsilon hidden_layer_sizes "
            "learning_rate learning_rate_init max_fun max_iter momentum nesterovs_momentum "
            "power_t shuffle solver tol"
        ),
        "sklearn.tree.DecisionTreeClassifier": (
            "ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes "
            "min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf "
            "monotonic_cst splitter"
        ),
        "sklearn.tree.ExtraTreeClassifier": (
            "ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes "
            "min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf "
            "monotonic_cst splitter"
        ),
    },
    "regressor": {
        "sklearn.cross_decomposition.PLSRegression": ("copy max_iter n_components scale tol"),
        "sklearn.ensemble.AdaBoostRegressor": ("estimator learning_rate loss n_estimators"),
        "sklearn.ensemble.BaggingRegressor": (
            "bootstrap bootstrap_features estimator max_features max_samples n_estimators oob_score"
        ),
        "sklearn.ensemble.ExtraTreesRegressor": (
            "bootstrap ccp_alpha criterion max_depth max_features max_leaf_nodes max_samples "
            "min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf "
            "monotonic_cst n_estimators oob_score"
        ),
        "sklearn.ensemble.GradientBoostingRegressor": (
            "alpha ccp_alpha criterion init learning_rate loss max_depth max_features "
            "max_leaf_nodes min_impurity_decrease min_samples_leaf min_samples_split "
            "min_weight_fraction_leaf n_estimators subsample tol"
        ),
        "sklearn.ensemble.HistGradientBoostingRegressor": (
            "interaction_cst l2_regularization learning_rate loss max_bins max_depth "
            "max_features max_iter max_leaf_nodes min_samples_leaf monotonic_cst quantile "
            "scoring tol"
        ),
        "sklearn.ensemble.RandomForestRegressor": (
            "bootstrap ccp_alpha criterion max_depth max_features max_leaf_nodes max_samples "
            "min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf "
            "monotonic_cst n_estimators oob_score"
        ),
        "sklearn.linear_model.ARDRegression": (
            "alpha_1 alpha_2 compute_score copy_X fit_intercept lambda_1 lambda_2 max_iter "
            "threshold_lambda tol"
        ),
        "sklearn.linear_model.BayesianRidge": (
            "alpha_1 alpha_2 alpha_init compute_score copy_X fit_intercept lambda_1 lambda_2 "
            "lambda_init max_iter tol"
        ),
        "sklearn.linear_model.ElasticNet": (
            "alpha copy_X fit_intercept l1_ratio max_iter positive precompute selection tol"
        ),
        "sklearn.linear_model.ElasticNetCV": (
            "alphas copy_X cv eps fit_intercept l1_ratio max_iter positive precompute selection tol"
        ),
        "sklearn.linear_model.HuberRegressor": ("alpha epsilon fit_intercept max_iter tol"),
        "sklearn.linear_model.Lars": (
            "copy_X eps fit_intercept fit_path jitter n_nonzero_coefs precompute"
        ),
        "sklearn.linear_model.LarsCV": (
            "copy_X cv eps fit_intercept max_iter max_n_alphas precompute"
        ),
        "sklearn.linear_model.Lasso": (
            "alpha copy_X fit_intercept max_iter positive precompute selection tol"
        ),
        "sklearn.linear_model.LassoCV": (
            "alphas copy_X cv eps fit_intercept max_iter positive precompute selection tol"
        ),
        "sklearn.linear_model.LassoLars": (
            "alpha copy_X eps fit_intercept fit_path jitter max_iter positive precompute"
        ),
        "sklearn.linear_model.LassoLarsCV": (
            "copy_X cv eps fit_intercept max_iter max_n_alphas positive precompute"
        ),
        "sklearn.linear_model.LassoLarsIC": (
            "copy_X criterion eps fit_intercept max_iter noise_variance positive precompute"
        ),
        "sklearn.linear_model.LinearRegression": ("copy_X fit_intercept positive tol"),
        "sklearn.linear_model.OrthogonalMatchingPursuit": (
            "fit_intercept n_nonzero_coefs precompute tol"
        ),
        "sklearn.linear_model.OrthogonalMatchingPursuitCV": ("copy cv fit_intercept max_iter"),
        "sklearn.linear_model.PassiveAggressiveRegressor": (
            "C average epsilon fit_intercept loss max_iter shuffle tol"
        ),
        "sklearn.linear_model.RANSACRegressor": (
            "estimator is_data_valid is_model_valid loss max_skips max_trials min_samples "
            "residual_threshold stop_n_inliers stop_probability stop_score"
        ),
        "sklearn.linear_model.Ridge": ("alpha copy_X fit_intercept max_iter positive solver tol"),
        "sklearn.linear_model.RidgeCV": (
            "alpha_per_target alphas cv fit_intercept gcv_mode scoring store_cv_results"
        ),
        "sklearn.linear_model.SGDRegressor": (
            "alpha average epsilon eta0 fit_intercept l1_ratio learning_rate loss max_iter "
            "penalty power_t shuffle tol"
        ),
        "sklearn.linear_model.TheilSenRegressor": (
            "fit_intercept max_iter max_subpopulation n_subsamples tol"
        ),
        "sklearn.linear_model.TweedieRegressor": (
            "alpha fit_intercept link max_iter power solver tol"
        ),
        "sklearn.neural_network.MLPRegressor": (
            "activation alpha batch_size beta_1 beta_2 epsilon hidden_layer_sizes "
            "learning_rate learning_rate_init loss max_fun max_iter momentum "
            "nesterovs_momentum power_t shuffle solver tol"
        ),
        "sklearn.svm.LinearSVR": (
            "C dual epsilon fit_intercept intercept_scaling loss max_iter tol"
        ),
        "sklearn.svm.NuSVR": ("C cache_size coef0 degree gamma kernel max_iter nu shrinking tol"),
        "sklearn.svm.SVR": (
            "C cache_size coef0 degree epsilon gamma kernel max_iter shrinking tol"
        ),
        "sklearn.tree.DecisionTreeRegressor": (
            "ccp_alpha criterion max_depth max_features max_leaf_nodes min_impurity_decrease "
            "min_samples_leaf min_samples_split min_weight_fraction_leaf monotonic_cst "
            "splitter"
        ),
        "sklearn.tree.ExtraTreeRegressor": (
            "ccp_alpha criterion max_depth max_features max_leaf_nodes min_impurity_decrease "
            "min_samples_leaf min_samples_split min_weight_fraction_leaf monotonic_cst "
            "splitter"
        ),
    },
}
"""Parameters are separated by spaces."""
